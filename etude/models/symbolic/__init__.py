"""Language models of symbolic music: GPT-2 and Llama by transformers, Music Transformer here."""
