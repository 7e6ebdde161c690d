"""PhraseVAE and PhraseLDM with the weights that their authors gave out."""
