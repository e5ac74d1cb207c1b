"""Bad calls of `hf_bat.perturbations`."""

from bad_calls import BadCall

from hf_bat.perturbations import (
    AntonymPerturbation,
    CharacterPerturbation,
    FilteredPerturbation,
    LabelValidity,
    MixedPerturbation,
    NegationPerturbation,
    PerturbationSampler,
    SynonymPerturbation,
    ToxicityPerturbation,
    build_fickle,
    build_obstinate,
    build_perturbations,
)

ANTONYM = AntonymPerturbation({"hot": ("cold",)})
SYNONYM = SynonymPerturbation({"hot": ("warm",)})
VALIDITY = LabelValidity({})


def read_words(folder, content):
    (folder / "words.txt").write_bytes(content)
    return ToxicityPerturbation(folder / "words.txt")


CALLS = [
    BadCall("no kind", lambda _: build_obstinate(ANTONYM, []), "obstinate_edits"),
    BadCall("unknown kind", lambda _: build_obstinate(ANTONYM, ["antonyms"]), "'antonyms'"),
    BadCall("kind twice", lambda _: build_obstinate(ANTONYM, ["number", "number"]), "number"),
    BadCall("a string of kinds", lambda _: build_obstinate(ANTONYM, "antonym"), "list"),
    BadCall("label filter", lambda _: build_obstinate(ANTONYM, label_filter="yes"), "'yes'"),
    BadCall("mixture of nothing", lambda _: MixedPerturbation([]), "at least one"),
    BadCall("mixture of both kinds", lambda _: MixedPerturbation([SYNONYM, ANTONYM]), "one kind"),
    BadCall("unknown fickle kind", lambda _: build_fickle(SYNONYM, ["typos"]), "fickle_edits"),
    BadCall("unknown character edit", lambda _: CharacterPerturbation(["insert"]), "insert"),
    BadCall("no word to edit", lambda _: CharacterPerturbation(rate=0), "rate"),
    BadCall("words of no letter", lambda _: CharacterPerturbation(min_length=0), "min_length"),
    BadCall("list for a table", lambda _: build_perturbations(["import"]), "list"),
    BadCall("casing", lambda _: AntonymPerturbation({}, casing="upper"), "'upper'"),
    BadCall("tagger", lambda _: NegationPerturbation(pos="spacy"), "'spacy'"),
    BadCall(
        "no draws", lambda _: PerturbationSampler(("text",), SYNONYM, num_fickle=0), "num_fickle"
    ),
    BadCall(
        "row without text",
        lambda _: PerturbationSampler(("premise",), SYNONYM).draw({"input_ids": [1], "idx": 0}, 0),
        "'premise'",
    ),
    BadCall(
        "row without idx",
        lambda _: PerturbationSampler(("text",), SYNONYM).draw({"text": "hot"}, 0),
        "'idx'",
    ),
    BadCall("filter of fickle edits", lambda _: FilteredPerturbation(SYNONYM, VALIDITY), "synonym"),
    BadCall("path for synonyms", lambda _: LabelValidity("synonyms.json"), "synonyms.json"),
    BadCall(
        "lost sentence", lambda _: VALIDITY.changes_label_of(("a", "b"), ("a",)), "2 sentences"
    ),
    BadCall("pair for toxicity", lambda _: ToxicityPerturbation().candidates(("a", "b")), "pairs"),
    BadCall("toxic words: no file", lambda f: ToxicityPerturbation(f / "absent.txt"), "absent.txt"),
    BadCall("toxic words: no word in a file", lambda f: read_words(f, b"# nothing\n"), "no word"),
    BadCall("toxic words: binary", lambda f: read_words(f, b"\xff\xfe\x00\xd8"), "UTF-8"),
    BadCall("toxic words: two", lambda _: ToxicityPerturbation(["two words"]), "'two words'"),
    BadCall("toxic words: blank", lambda _: ToxicityPerturbation([" "]), "not one word"),
    BadCall("toxic words: none", lambda _: ToxicityPerturbation(iter(())), "empty"),
    BadCall("max_swaps", lambda _: ToxicityPerturbation(max_swaps=0), "max_swaps"),
]
