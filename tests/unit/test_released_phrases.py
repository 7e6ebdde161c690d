"""The released PhraseVAE and PhraseLDM: what Étude computes of their files is what they compute."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from phrases import pack, tokenizer_of
from refused import refused
from safetensors.torch import load_file

pytest.importorskip("diffusers")
import released_phrases as released

from etude import config
from etude.clips.progress import never, silent
from etude.config import CorpusBase, RemiZ
from etude.config.systems.released_phrases import PhraseT5, ReleasedPhrases, SongTransformer
from etude.errors import UserError
from etude.systems import open_system
from etude.systems.base import Parts
from etude.systems.conditions import Conditions
from etude.systems.released_phrases.dit import ReleasedDit
from etude.systems.released_phrases.player import SongPlayer
from etude.systems.released_phrases.vae import SHAPE, ReleasedVae
from etude.systems.released_phrases.vocabulary import BAR, ID, INST, NAMES, SEP, Translator
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.training.stage import import_stage

SYSTEM = open_system("released_phrases")


@pytest.fixture(scope="module")
def theirs():
    """Both networks, as their authors' libraries have them."""
    return SimpleNamespace(vae=released.phrase_vae(), ldm=released.phrase_ldm())


@pytest.fixture(scope="module")
def files(theirs, tmp_path_factory):
    """Their files: hub folders, and a checkpoint of a training."""
    folder = tmp_path_factory.mktemp("released")
    theirs.vae.save_pretrained(folder / "vae")
    theirs.ldm.save_pretrained(folder / "ldm")
    torch.save(theirs.ldm.lightning(theirs.vae), folder / "step_step=200000.ckpt")
    return folder


def experiment(files, ldm="ldm/model.safetensors", vae="vae/model.safetensors", **generate):
    stages = {
        "vae": {"network": released.VAE, "weights": files / vae},
        "ldm": {"network": released.LDM, "weights": {"path": files / ldm, "trust": True}},
    }
    made = {"clips": 2, "bars": 8, "denoising": {"solver": "ddim", "steps": 5}} | generate
    return ReleasedPhrases(
        system="released_phrases", corpus="c", tokens="t", stages=stages, generate=made
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    from phrases import songs

    every = songs(6)
    pieces = {"train": every[:4], "valid": every[4:]}
    return pack(tmp_path_factory.mktemp("parts"), pieces)


def imported(files, folder, parts, **options):
    """Both stages as the workflow imports them."""
    chosen = experiment(files, **options)
    for stage in ("vae", "ldm"):
        weights = chosen.stage(stage).weights.path
        import_stage(chosen, stage, 0, parts, weights, folder / stage)
    return chosen


def remi_z():
    return RemiZTokenizer(RemiZ(kind="remi_z", slots=3, tracks="program"))


# ------------------------------------------------------------------------------------- words


def test_the_words_have_their_numbers():
    """[BOS], [EOS], [INST] and [SEP] too: by the libraries that the vocabulary was made with."""
    theirs = released.tokenizer()
    assert len(theirs) == len(NAMES) == 1000
    assert theirs.convert_tokens_to_ids(NAMES) == list(range(1000))
    named = [theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id, theirs.sep_token_id]
    assert named == [SHAPE["bos"], SHAPE["eos"], SHAPE["pad"], SEP]


def test_a_bar_is_four_texts():
    """Tracks that play, [INST] for those that rest, the end of the bar."""
    tokenizer = remi_z()
    word = {name: number for number, name in enumerate(tokenizer.names())}
    text = "i-13 o-0 p-72 d-12 i-0 o-12 p-48 d-24 p-40 d-24 b-1 b-1 i-0 o-0 p-50 d-6 b-1"
    bars = tokenizer.bars([word[name] for name in text.split()])
    texts = [" ".join(NAMES[i] for i in found) for found in Translator(tokenizer).texts(bars)]
    assert texts == [
        *("i-13 o-0 p-72 d-12", "i-0 o-12 p-48 d-24 p-40 d-24", "[INST]", "b-1"),
        *("[INST]", "[INST]", "[INST]", "b-1"),
        *("i-0 o-0 p-50 d-6", "[INST]", "[INST]", "b-1"),
    ]


def test_texts_are_a_song_as_far_as_its_end():
    tokenizer = remi_z()
    texts = [
        "i-0 o-0 p-60 d-12", "[INST]", "b-1", "b-1", "[INST]", "b-1",
        "i-13 o-12 p-72 d-12 [SEP] o-24 p-74 d-12", "i-0 o-0 p-40 d-12",
    ]  # fmt: skip
    bars = Translator(tokenizer).read([[ID[name] for name in text.split()] for text in texts])
    table = tokenizer.decode(tokenizer.join(bars))
    assert table.pitch.tolist() == [60, 72]
    assert table.program.tolist() == [0, 13]
    assert table.places().bar.tolist() == [0, 2]


def test_what_the_tokenizer_has_no_word_for_is_passed_over():
    """An onset of the eleventh quarter, with what begins there."""
    text = [
        ID[name]
        for name in [
            "i-0",
            "o-0",
            "p-60",
            "d-12",
            "o-127",
            "p-61",
            "d-12",
            "o-12",
            "p-62",
            "d-0",
            "d-6",
        ]
    ]
    tokenizer = remi_z()
    bars = Translator(tokenizer).read([text])
    assert tokenizer.decode(tokenizer.join(bars)).pitch.tolist() == [60, 62]


def test_slots_are_known_by_their_instruments():
    """Of POP909's files, whose tracks are all pianos; and the way back."""
    tokenizer = RemiZTokenizer(RemiZ(kind="remi_z", slots=3, order="file"))
    word = {name: number for number, name in enumerate(tokenizer.names())}
    text = "s-4/4 i-0 o-0 p-72 d-12 i-0 i-0 o-0 p-48 d-12 b-1"
    bars = tokenizer.bars([word[name] for name in text.split()])
    translator = Translator(tokenizer, [13, 25, 0])
    texts = list(translator.texts(bars))
    assert [" ".join(NAMES[i] for i in found) for found in texts] == [
        *("i-13 o-0 p-72 d-12", "i-0 o-0 p-48 d-12", "[INST]", "b-1"),
    ]
    again = translator.read(texts)
    assert again[0].phrases == bars[0].phrases
    assert again[0].instruments == [13, 25, 0]
    other = translator.read([[ID["i-40"], ID["o-0"], ID["p-60"], ID["d-6"]], texts[1]])
    assert other[0].instruments == [40, 25, 0], "an instrument that has no slot takes a free one"


# ---------------------------------------------------------------------------------- networks


def test_phrases_become_the_same_latents(theirs, files):
    ours = ReleasedVae(SHAPE, PhraseT5.model_validate(released.VAE))
    ours.load_state_dict(ours.accept(load_file(files / "vae/model.safetensors")))
    ours.eval()
    rows = [[ID[name] for name in text.split()] for text in released.TEXTS]
    from etude.systems.phrase_ldm.latents import posteriors

    with torch.no_grad():
        mean, log_variance = theirs.vae.encode(released.TEXTS)
    found = posteriors(ours, rows)
    torch.testing.assert_close(found[0], mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[1], log_variance, atol=1e-4, rtol=1e-4)


def test_latents_become_the_same_phrases(theirs, files):
    ours = ReleasedVae(SHAPE, PhraseT5.model_validate(released.VAE))
    ours.load_state_dict(ours.accept(load_file(files / "vae/model.safetensors")))
    ours.eval()
    with torch.no_grad():
        mean, _ = theirs.vae.encode(released.TEXTS)
        latents = torch.cat([mean, mean[[3, 4, 6]].lerp(mean[[4, 6, 7]], 0.4)])
        wanted = theirs.vae.decode(latents)
    written = [" ".join(NAMES[i] for i in ids) for ids in ours.decode(latents, 127)]
    plain = [
        " ".join(word for word in text.split() if word not in ("[BOS]", "[EOS]", "[PAD]"))
        for text in wanted
    ]
    assert written == plain
    assert written[: len(released.TEXTS)] == released.TEXTS  # the look-alike has learned them


@pytest.mark.parametrize("form", ["ldm/model.safetensors", "step_step=200000.ckpt"])
def test_noise_is_predicted_the_same(theirs, files, parts, tmp_path, form):
    """Of the hub's file and of a training's, with the length's embedding, at a whole step."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    imported(files, tmp_path, parts, ldm=form)
    ours = ReleasedDit.load(tmp_path / "ldm")
    x = torch.randn(2, 32, released.LATENT, generator=torch.Generator().manual_seed(0))
    step, bars = torch.tensor([731, 4]), 64
    with torch.no_grad():
        told = theirs.ldm.length_encoder.length_embedding(torch.tensor([bars // 10] * 2))
        wanted = theirs.ldm.ldm(
            x.transpose(1, 2), step,
            encoder_hidden_states=torch.zeros(2, 7, 24), global_hidden_states=told[:, None],
            rotary_embedding=get_1d_rotary_pos_embed(
                4, 33, use_real=True, repeat_interleave_real=False
            ),
        ).sample.transpose(1, 2)  # fmt: skip
        found = ours(x, step, bars)
        other = ours(x, step, 8)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, other)


def test_every_step_is_that_of_their_scheduler(files, parts, tmp_path):
    """DDPM with the clip as released: diffusers' scheduler, given the same noise."""
    from diffusers import DDPMScheduler

    chosen = imported(files, tmp_path, parts)
    ours = ReleasedDit.load(tmp_path / "ldm")
    scheduler = DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=True,
        clip_sample_range=released.LDM["clip"],
    )  # fmt: skip
    how = chosen.generate.denoising.model_copy(update={"solver": "ddpm", "steps": 1000})
    noise = torch.randn(1001, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    drawn = iter(noise[1:])

    def predict(x, time, estimate=None):
        return x * (0.2 + time[:, None, None])

    found = ours.sampler(how).sample(predict, noise[0], fresh=lambda: next(drawn))
    x, again = noise[0], iter(noise[1:])
    for step in scheduler.timesteps:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor",
                lambda *args, **options: next(again),
            )
            x = scheduler.step(predict(x, step[None] / 1000), step, x).prev_sample
    torch.testing.assert_close(found, x, atol=2e-3, rtol=1e-3)


def test_a_training_says_its_scale_and_clip_itself(files, parts, tmp_path):
    """A hub's file does not: there they are the configuration's."""
    imported(files, tmp_path / "hub", parts)
    imported(files, tmp_path / "training", parts, ldm="step_step=200000.ckpt")
    hub, training = (ReleasedDit.load(tmp_path / name / "ldm") for name in ("hub", "training"))
    assert (hub.settings.scale, hub.settings.clip) == (1.5, 2.75)
    assert (training.settings.scale, training.settings.clip) == (0.5, 3.5)
    how = experiment(files).generate.denoising
    ends = [model.make([5], 8, how) for model in (hub, training)]
    assert ends[0].abs().max() <= 1.5 * 2.75 + 1e-4
    assert not torch.allclose(*ends)


def test_the_sizes_are_the_released_ones():
    """The hub's pages say 14.3 M and 29.5 M (test_sizes has the one with sections)."""
    with torch.device("meta"):
        vae, ldm = ReleasedVae(SHAPE, PhraseT5()), ReleasedDit({"latent": 64}, SongTransformer())
    counts = [sum(p.numel() for p in model.parameters()) for model in (vae, ldm)]
    assert counts == [14_291_968, 29_530_176]


# ------------------------------------------------------------------------------------- songs


@pytest.fixture(scope="module")
def played(files, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    chosen = imported(files, folder, parts)
    latents = folder / "latents"
    latents.mkdir()
    models = {stage: folder / stage for stage in ("vae", "ldm")}
    here = Parts(parts.packed, parts.tokenizers, models, {"vae": latents}, corpus=CorpusBase())
    SYSTEM.encode(chosen, "vae", here, latents)
    return chosen, here


def made(chosen, parts, **settings):
    player = SYSTEM.open(chosen, parts)
    values = chosen.generate.model_copy(update=settings)
    asked = player.prepare(values, Conditions())
    return list(player.clips(values, 0, 0, asked, silent, never))


def test_songs_have_notes_and_come_again(played):
    first, again = made(*played), made(*played)
    assert sum(len(clip.notes) for clip in first) > 0
    assert all(np.array_equal(a.wave, b.wave) for a, b in zip(first, again, strict=True))
    assert {clip.row["ended"] for clip in first} <= {"true", "false"}


def test_a_song_does_not_depend_on_its_batch(played):
    together, alone = made(*played), made(*played, batch_size=1)
    for a, b in zip(together, alone, strict=True):
        assert a.notes.pitch.tolist() == b.notes.pitch.tolist()


def test_the_corpus_is_encoded_in_their_layout(played, parts):
    _, here = played
    content = load_file(here.latents["vae"] / "valid.safetensors")
    assert content["lengths"].sum() == len(content["mean"])
    assert (content["lengths"] % 4 == 0).all()
    ends = content["mean"][3::4]
    torch.testing.assert_close(ends, ends[:1].expand_as(ends), atol=1e-5, rtol=0)


def test_its_sets_are_made(played):
    chosen, here = played
    sets = dict(SYSTEM.baselines(chosen, here, None, 0))
    assert set(sets) == set(ReleasedPhrases.sets)
    for name, found in sets.items():
        assert len(list(found.clips)) == 2, name
    copies = dict(SYSTEM.baselines(chosen, here, None, 0))["copies"]
    assert all(len(clip.notes) for clip in copies.clips)


def test_latents_of_any_notes(played):
    chosen, here = played
    tokenizer = tokenizer_of()
    from phrases import songs

    notes = tokenizer.decode(tokenizer.join(songs(1)[0]))
    found = SYSTEM.encoder(chosen, here)(notes)
    assert found.shape[1] == released.LATENT
    assert len(found) > 3


def test_more_bars_than_there_is_room_for(played):
    chosen, here = played
    player = SYSTEM.open(chosen, here)
    with refused("too-many-bars", "8"):
        player.prepare(chosen.generate, Conditions(bars=9))


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("stage", "tensors", "said"),
    [
        ("vae", {"ldm.proj.weight": torch.zeros(2)}, "not the weights of a PhraseVAE"),
        ("ldm", {"sec_encoder.type_embed.weight": torch.zeros(2)}, "sections"),
        ("ldm", {"model.t5.shared.weight": torch.zeros(2)}, "do not fit"),
    ],
)
def test_other_weights_are_refused(files, parts, tmp_path, stage, tensors, said):
    from safetensors.torch import save_file

    save_file(tensors, other := tmp_path / "other.safetensors")
    chosen = experiment(files, **{stage: other})
    with pytest.raises(UserError) as error:
        import_stage(chosen, stage, 0, parts, other, tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("said", [{"clip_range": 1.0}, {"scale_factor": "much"}])
def test_what_a_training_says_of_itself_must_be_possible(theirs, files, parts, tmp_path, said):
    content = theirs.ldm.lightning(theirs.vae)
    content["hyper_parameters"] |= said
    torch.save(content, path := tmp_path / "step.ckpt")
    with pytest.raises(UserError) as error:
        import_stage(experiment(files, ldm=path), "ldm", 0, parts, path, tmp_path / "out")
    assert error.value.where == str(path)


def test_weights_alone_say_nothing(theirs, files, parts, tmp_path):
    """A state dict without the rest, and of half a file what is wrong with it."""
    content = theirs.ldm.lightning(theirs.vae)["state_dict"]
    torch.save(content, path := tmp_path / "weights.pt")
    import_stage(experiment(files, ldm=path), "ldm", 0, parts, path, tmp_path / "out")
    assert ReleasedDit.load(tmp_path / "out").settings.scale == released.LDM["scale"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError) as error:
        import_stage(experiment(files, ldm=path), "ldm", 0, parts, path, tmp_path / "half")
    assert error.value.where == str(path)


def test_untied_embeddings_are_refused(files):
    tensors = load_file(files / "vae/model.safetensors")
    name = next(name for name in tensors if "embed" in name or "shared" in name)
    tensors["model.t5.lm_head.weight"] = tensors[name] + 1
    with pytest.raises(UserError):
        ReleasedVae(SHAPE, PhraseT5.model_validate(released.VAE)).accept(tensors)


def test_networks_that_do_not_fit_together():
    vae = ReleasedVae(SHAPE, PhraseT5.model_validate(released.VAE | {"latent": 4}))
    ldm = ReleasedDit({"latent": 8}, SongTransformer.model_validate(released.LDM))
    with pytest.raises(UserError):
        SongPlayer(vae, ldm, Translator(remi_z()), CorpusBase())


@pytest.mark.parametrize(
    "stages",
    [
        {"vae": {"weights": {"path": "x", "fine_tune": True}}, "ldm": {"weights": "y"}},
        {"vae": {"weights": "x", "training": {"steps": 5}}, "ldm": {"weights": "y"}},
    ],
)
def test_nothing_is_trained(stages):
    with pytest.raises(ValueError, match="train"):
        ReleasedPhrases(system="released_phrases", corpus="c", tokens="t", stages=stages)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"stages": {"vae": {"weights": "x"}}}, "ldm.weights"),
        ({"tokens": "four"}, "slots: 3"),
        ({"generate": {"bars": 129}}, "generate.bars"),
        ({"generate": {"denoising": {"steps": 1001}}}, "denoising.steps"),
        ({"generate": {"programs": [0]}}, "generate.programs"),
    ],
)
def test_what_the_configuration_must_have(changes, said):
    theirs = {"system": "released_phrases", "corpus": "c", "tokens": "three"}
    theirs |= {"stages": {name: {"weights": f"{name}.safetensors"} for name in ("vae", "ldm")}}
    window = {"window": 65536, "stride": 65536}
    over = {
        "corpora": {"c": {"source": "music21"}},
        "tokenizers": {"three": {"kind": "remi_z", "slots": 3}, "four": {"kind": "remi_z"}},
        "tokens": {name: {"tokenizer": name} | window for name in ("three", "four")},
        "experiments": {"theirs": theirs | changes},
        "run": ["theirs"],
    }
    if not said:
        config.read(config.DEFAULT, overrides=over)
        return
    with pytest.raises(UserError) as error:
        config.read(config.DEFAULT, overrides=over)
    assert said in str(error.value)


def test_each_job_has_what_decides_its_result(files):
    """What rules put into params is read again in the job, and is the same."""
    chosen = experiment(files, programs=[0, 0, 0])
    for stage in ("vae", "ldm"):
        again = config.parse_section(config.Experiment, chosen.stage_params(stage))
        assert again.stage(stage).network == chosen.stage(stage).network
        assert SYSTEM.shape(again, stage, Parts()) == SYSTEM.shape(chosen, stage, Parts())
        assert again.stage(stage).imported
    for text in (chosen.generate_params(), chosen.untrained_params(), chosen.params()):
        again = config.parse_section(config.Experiment, text)
        assert again.generate == chosen.generate
        assert again.programs == chosen.programs


def test_the_end_of_a_bar_is_a_word_of_its_own():
    assert (BAR, INST, SEP) == (23, 9, 4)
