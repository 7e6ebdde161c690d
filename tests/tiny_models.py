"""Tiny, randomly initialised networks of the pretrained parts' own classes, in the hub's form."""

from __future__ import annotations

from pathlib import Path

import torch


def make_hubert(folder: Path, layers: int = 2):
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=64, num_hidden_layers=layers, num_attention_heads=1, intermediate_size=32,
        conv_dim=[8] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    model = HubertModel(config).eval()
    model.save_pretrained(str(folder))
    return model


def make_encodec(folder: Path):
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    config = EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16, codebook_size=64)
    model = EncodecModel(config).eval()
    model.save_pretrained(str(folder))
    return model


def fill_codebooks(model, folder: Path) -> None:
    """Numbers in an EnCodec's codebooks, which are zeros at first: there all codes sound the same.

    Args:
        model: an EnCodec, or a MusicGen with one.
        folder: it is saved there again.
    """
    generator = torch.Generator().manual_seed(0)
    codec = getattr(model, "audio_encoder", model)
    for layer in codec.quantizer.layers:
        embed = layer.codebook.embed
        embed.copy_(30 * torch.randn(embed.shape, generator=generator))
    model.save_pretrained(str(folder))


def make_clap(folder: Path):
    """Short clips are repeated to 10 s as by the real one; spectra are coarser, so that it is fast."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(0)
    audio = {
        "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4],
        "window_size": 4, "patch_embeds_hidden_size": 16, "depths": [1, 1],
        "num_attention_heads": [2, 2], "hidden_size": 32, "projection_dim": 24,
    }  # fmt: skip
    text = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "projection_dim": 24, "max_position_embeddings": 20,
    }  # fmt: skip
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).eval()
    model.save_pretrained(str(folder))
    extractor = ClapFeatureExtractor(
        feature_size=16, hop_length=4800, padding="repeatpad", truncation="rand_trunc"
    )
    extractor.save_pretrained(str(folder))
    from etude.systems.musicgen.texts import word_tokenizer

    word_tokenizer(["a bell high low"]).save(str(folder / "tokenizer.json"))
    return model


def make_musicgen(folder: Path, width: int = 48, scale: float = 8.0):
    """Of 32 kHz, 4 x 64 codes at 50 Hz; its text tokenizer knows a few words.

    Weights are `scale` times what they begin with: at first the text hardly reaches the logits, and
    then a test that something is learned, or that two texts differ, could not fail.
    """
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    from etude.systems.musicgen.texts import word_tokenizer

    torch.manual_seed(0)
    text = T5Config(
        vocab_size=40, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0,
    )  # fmt: skip
    codec = EncodecConfig(
        sampling_rate=32000, upsampling_ratios=[8, 5, 4, 4], num_filters=4, hidden_size=8,
        codebook_size=64, codebook_dim=8, target_bandwidths=[1.2], use_causal_conv=False,
        norm_type="weight_norm", num_lstm_layers=1,
    )  # fmt: skip
    decoder = MusicgenDecoderConfig(
        vocab_size=64, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, ffn_dim=96,
        num_codebooks=4, pad_token_id=64, bos_token_id=64,
    )  # fmt: skip
    config = MusicgenConfig(
        text_encoder=text.to_dict(), audio_encoder=codec.to_dict(), decoder=decoder.to_dict()
    )
    model = MusicgenForConditionalGeneration(config).eval()
    with torch.no_grad():
        for part in filter(None, (model.decoder, getattr(model, "enc_to_dec_proj", None))):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(scale)
    model.generation_config.decoder_start_token_id = 64
    model.config.decoder_start_token_id = 64
    model.save_pretrained(str(folder))
    words = "steel drum piano music box slow high the sound of a recording minor major"
    word_tokenizer([words]).save(str(folder / "tokenizer.json"))
    return model


def make_melody(folder: Path, scale: float = 8.0):
    """As `make_musicgen`, of the class that follows melodies."""
    from transformers import (
        MusicgenConfig,
        MusicgenMelodyConfig,
        MusicgenMelodyDecoderConfig,
        MusicgenMelodyForConditionalGeneration,
    )

    from etude.systems.musicgen.texts import word_tokenizer

    made = make_musicgen(folder)
    assert isinstance(made.config, MusicgenConfig)
    decoder = MusicgenMelodyDecoderConfig(
        vocab_size=64, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, ffn_dim=96,
        num_codebooks=4, pad_token_id=64, bos_token_id=64,
    )  # fmt: skip
    config = MusicgenMelodyConfig(
        text_encoder=made.config.text_encoder.to_dict(), decoder=decoder.to_dict(),
        audio_encoder=made.config.audio_encoder.to_dict(), num_chroma=12, chroma_length=7,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MusicgenMelodyForConditionalGeneration(config).eval()
    with torch.no_grad():
        for part in (model.decoder, model.enc_to_dec_proj, model.audio_enc_to_dec_proj):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(scale)
    model.generation_config.decoder_start_token_id = 64
    model.config.decoder_start_token_id = 64
    model.save_pretrained(str(folder))
    words = "steel drum piano music box slow high the sound of a recording minor major"
    word_tokenizer([words]).save(str(folder / "tokenizer.json"))
    return model


FAIRSEQ = (  # transformers' part of a name -> fairseq's
    ("feature_projection.layer_norm.", "layer_norm."),
    ("feature_projection.projection.", "post_extract_proj."),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder.pos_conv.0.weight_g"),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder.pos_conv.0.weight_v"),
    ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
    ("masked_spec_embed", "mask_emb"),
)  # fmt: skip


def fairseq_name(name: str) -> str:
    """The name that fairseq gives a weight of transformers' HuBERT."""
    if name.startswith("encoder.layers.") and ".layer_norm." in name and "final" not in name:
        return name.replace(".layer_norm.", ".self_attn_layer_norm.")
    if name.startswith("feature_extractor."):
        return name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.")
    for theirs, fairseq in FAIRSEQ:
        if theirs in name:
            return name.replace(theirs, fairseq)
    return name


SOUND_WORDS = "low hum high beep wobbly siren slow the a music of"


def make_stable_audio(folder: Path, scale: float = 1.4):
    """A pipeline of Stable Audio Open's classes: 8 numbers at 125 Hz, 8 kHz, two channels."""
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    text = T5Config(vocab_size=32, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=4)
    transformer = StableAudioDiTModel(
        sample_size=64, in_channels=8, out_channels=8, num_layers=2, attention_head_dim=64,
        num_attention_heads=2, num_key_value_attention_heads=1, cross_attention_dim=64,
        cross_attention_input_dim=64, global_states_input_dim=128, time_proj_dim=256,
    )  # fmt: skip
    pipeline = StableAudioPipeline(
        vae=AutoencoderOobleck(
            encoder_hidden_size=16, downsampling_ratios=[4, 4, 4], channel_multiples=[1, 2, 2],
            decoder_channels=8, decoder_input_channels=8, audio_channels=2, sampling_rate=8000,
        ),
        text_encoder=T5EncoderModel(text),
        projection_model=StableAudioProjectionModel(64, 64, 0, 16),
        tokenizer=_sound_tokenizer(12),
        transformer=transformer,
        scheduler=EDMDPMSolverMultistepScheduler(prediction_type="v_prediction", sigma_data=1.0),
    )  # fmt: skip
    _scale(transformer, scale)
    pipeline.save_pretrained(str(folder))
    return pipeline


def make_stable_audio_3(folder: Path):
    """A pipeline of Stable Audio 3's classes: 8 numbers at 125 Hz, 8 kHz, two channels."""
    from diffusers import (
        AutoencoderSAME,
        FlowMatchEulerDiscreteScheduler,
        StableAudio3DiTModel,
        StableAudio3Pipeline,
    )
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import (
        StableAudio3DurationEmbedder,
    )
    from transformers import T5GemmaConfig, T5GemmaEncoderModel
    from transformers.models.t5gemma.configuration_t5gemma import T5GemmaModuleConfig

    torch.manual_seed(0)
    inner = T5GemmaModuleConfig(
        vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    config = T5GemmaConfig(encoder=inner, decoder=inner, is_encoder_decoder=False, vocab_size=32)
    transformer = StableAudio3DiTModel(
        io_channels=8, embed_dim=64, depth=2, num_heads=2, cond_token_dim=32, global_cond_dim=32,
        local_add_cond_dim=9, timestep_features_dim=16, num_memory_tokens=4,
    )  # fmt: skip
    vae = AutoencoderSAME(
        patch_size=8, encoder_channels=16, encoder_c_mults=(2,), encoder_strides=(8,),
        encoder_transformer_depths=(1,), latent_dim=8, dim_heads=16, sampling_rate=8000,
    )  # fmt: skip
    pipeline = StableAudio3Pipeline(
        vae=vae,
        text_encoder=T5GemmaEncoderModel(config),
        tokenizer=_sound_tokenizer(12),
        duration_embedder=StableAudio3DurationEmbedder(32, 16),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    _scale(transformer, 2.0)
    for part in vae.parameters():  # its blocks begin as nothing, and it would be deaf to all
        if not part.any():
            torch.nn.init.normal_(part, std=0.2)
    pipeline.save_pretrained(str(folder))
    return pipeline


def _sound_tokenizer(length: int):
    from transformers import PreTrainedTokenizerFast

    from etude.systems.musicgen.texts import word_tokenizer

    return PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer([SOUND_WORDS]), pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>", model_max_length=length,
    )  # fmt: skip


def _scale(network, scale: float) -> None:
    """So that what goes in reaches what comes out; some layers begin with zeros."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1 and ("process_conv" in name or not weight.any()):
                torch.nn.init.normal_(weight, 0, 0.1)
            elif weight.dim() > 1:
                weight.mul_(scale)
