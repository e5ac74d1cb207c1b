"""Bad calls of the command `hf-bat`: exit status 2, a one-line message, and no changed files."""

from bad_calls import refused_command

# The files in these calls do not exist, so the command must reject its options before it loads anything.
ATTACK = "attack --task snli --model absent"
ATTACK_ROWS = f"{ATTACK} --data rows.jsonl"
CERTIFY = "certify --task snli --model absent --synonyms table.json --data rows.jsonl"
CONTRAST = "contrast --task snli --model absent --data rows.jsonl"
PERTURB = "perturb --task snli --data rows.jsonl"
BUILD = "lexicon build synonyms --vectors absent.txt --vocabulary words.txt"
SWEEP = "sweep --output_dir new --base"
# These load a tiny model.
ATTACK_MODEL = "attack --task snli --model {model}"
ATTACK_MODEL_ROWS = f"{ATTACK_MODEL} --data rows.jsonl"

# Options that define a custom task, in the spelling of the commands and of the training script.
OWN_TASK = ("--label-column gold", "--label_column gold", "--label-names a b", "--class_names a b")
OWN_TASK_KEYWORDS = ("label_column", "label_column", "class_names", "class_names")

FAULTS = [
    ("nonsense", "nonsense"),
    ("--nonsense", "nonsense"),
    ("atack --model m", "did you mean 'attack'"),
    ("attack --modle m --task snli", "unknown option --modle (did you mean '--model'"),
    ("lexicon buld", "did you mean 'build'"),
    # Values of an unset shell variable.
    (f"{ATTACK_ROWS} --json ''", "--json has an empty value"),
    (f"{ATTACK_ROWS} --rows=", "--rows has an empty value"),
    (f"{CERTIFY} --rows ''", "--rows"),
    (f"{ATTACK_ROWS} --attacks antonym ''", "--attacks"),
    ("suite --task snli --data rows.jsonl --output ''", "--output"),
    ("lexicon convert table.json --output ''", "--output"),
    ("report ''", "an argument is empty"),
    ("train --model_name_or_path absent --task snli --output_dir ''", "--output_dir"),
    ("train --model_name_or_path absent --task snli --synonyms ''", "--synonyms"),
    ("sweep --base '--model_name_or_path absent --task snli' --output_dir ''", "--output_dir"),
    (f"{SWEEP} '--model_name_or_path absent --task snli' --grid ''", "--grid has an empty"),
    (f"{ATTACK} --data rows.jsonl --model /nowhere --synonyms absent.json", "absent.json"),
    # attack
    (ATTACK, "--data"),
    (f"{ATTACK} --data absent.jsonl", "absent.jsonl"),
    (f"{ATTACK_ROWS} --text a b", "--text"),
    (f"{ATTACK_ROWS} --columns x", "--columns"),
    (f"{ATTACK_ROWS} --label entailment", "--label"),
    (f"{ATTACK_ROWS} --attacks antonym --mlm-model m", "a2t-mlm"),
    (f"{ATTACK_ROWS} --attacks antonym --encoder m", "textfooler-wordnet"),
    (f"{ATTACK_ROWS} --attacks antonym --toxic-words words.txt", "--toxic-words"),
    (f"{ATTACK_ROWS} --smooth 5", "--synonyms"),
    (f"{ATTACK_ROWS} --exclude-stopwords", "--smooth"),
    (f"{ATTACK_ROWS} --seed -1", "seed"),
    (f"{ATTACK} --text a b --rows new.jsonl", "--rows"),
    (f"{ATTACK} --text a b --max-samples 3", "--max-samples"),
    ("attack --task snli --model /nowhere/at-all --text a b", "/nowhere/at-all"),
    (f"{ATTACK_MODEL} --text one", "2 texts"),
    (f"{ATTACK_MODEL_ROWS} --attacks antonim", "antonym"),
    (f"{ATTACK_MODEL_ROWS} --fail-if antonym.asr", "ATTACK.FIGURE"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'antonym.asr>much'", "ATTACK.FIGURE"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'antonym.asr>1e'", "ATTACK.FIGURE"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'antonym.asrr>0.1'", "'asr'"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'negation.asr>0.1'", "negation"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'antonym.valid_asr>0.1'", "--label-filter"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'f1<0.1'", "--f1-label"),
    (f"{ATTACK_MODEL_ROWS} --fail-if 'antonym.f1<0.1' --f1-label neutral", "unedited"),
    (f"{ATTACK_MODEL_ROWS} --f1-label toxic", "entailment, neutral"),
    (f"{ATTACK_MODEL} --text a b --fail-if 'antonym.asr>0.1'", "--fail-if"),
    (f"{ATTACK_MODEL} --text a b --f1-label neutral", "--f1-label"),
    (f"{ATTACK_MODEL_ROWS} --attacks toxicity", "single sentence"),
    (f"{ATTACK_MODEL_ROWS} --attacks synonym --label-filter", "--label-filter"),
    (f"{ATTACK_MODEL_ROWS} --canonicalize absent.json", "absent.json"),
    (f"{ATTACK_MODEL_ROWS} --dtype int4", "int4"),
    (f"{ATTACK_MODEL_ROWS} --device abacus", "abacus"),
    ("attack --task snli --data rows.jsonl", "--model"),
    (f"{ATTACK_ROWS} --model-from json:dumps", "--model-from"),
    ("attack --task snli --data rows.jsonl --model-from json", "MODULE:NAME"),
    ("contrast --task snli --data rows.jsonl --model-from json:nothing", "json:nothing"),
    # contrast
    (f"{CONTRAST} --format hanz", "hanz"),
    (f"{CONTRAST} --format hans", "gold_label"),
    # perturb
    (f"{PERTURB} --n 0", "--n"),
    ("perturb --columns text --data intents.csv --skipped-labels good", "--label-names"),
    ("perturb --task snli --data absent.jsonl --quiet", "absent.jsonl"),
    ("perturb --columns text --data intents.csv --label-column verdict", "verdict"),
    # augment
    ("augment --task snli --data rows.jsonl --output-dir new", "--edits"),
    ("augment --task snli --data rows.jsonl --output-dir new --edits typos", "fickle_edits"),
    ("augment --task snli --data rows.jsonl --output-dir new --edits typo --private", "--push"),
    ("augment --task snli --data rows.jsonl --output-dir new --rules swapp", "swapp"),
    # compare
    ("compare absent.json a.json", "absent.json"),
    ("compare a.json b.json --resamples 0", "--resamples"),
    # demo
    ("demo --methods tripplet", "tripplet"),
    ("demo --methods normal normal", "duplicates"),
    ("demo --train-rows 0", "4500"),
    ("demo --epochs 0", "epochs"),
    ("demo --json absent/demo.json", "absent"),
    ("demo --output-dir a.json", "a.json"),
    # lexicon
    ("lexicon info absent.json", "absent.json"),
    ("lexicon build synonyms --threshold 0.5 --output new", "--vectors"),
    ("lexicon build antonyms --vectors absent.txt --output new", "WordNet"),
    ("lexicon build synonyms --vectors absent.txt --output new", "--vocabulary"),
    (f"{BUILD} --wordnet nltk --output new", "--wordnet"),
    ("lexicon build antonyms --data rows.jsonl --vocabulary words.txt --output new", "not both"),
    ("lexicon build antonyms --data rows.jsonl --output new", "--columns"),
    ("lexicon build antonyms --data rows.jsonl --columns text --output new", "text"),
    ("lexicon build antonyms --task snli --output new", "--data"),
    ("lexicon build antonyms --vocabulary absent.txt --output new", "absent.txt"),
    ("lexicon build antonyms --data rows.jsonl --task snli --min_count 0 --output new", "--min"),
    ("lexicon build antonyms --vocabulary table.json --output new", "empty"),
    # sweep
    (f"{SWEEP} '--task snli' --jobs 0", "--jobs"),
    (f"{SWEEP} '--task snli --seed 1' --grid seed=1,2", "seed"),
]
# Options that a known task would ignore.
FAULTS += [
    (f"{command} {option}", f"--{keyword}")
    for command in (ATTACK_ROWS, CERTIFY, CONTRAST, PERTURB)
    for option, keyword in zip(OWN_TASK, OWN_TASK_KEYWORDS, strict=True)
]
FAULTS += [
    (f"{PERTURB} --skipped-labels neutral", "--skipped_labels"),
    # The default task is snli.
    ("contrast --model absent --data rows.jsonl --label-names a b", "snli"),
]
FAULTS += [
    (f"{SWEEP} '--model_name_or_path m --task snli {option}'", option.split()[0])
    for option in (
        "--label_column gold",
        "--class_names a b",
        "--skipped_labels neutral",
        "--validation_mm_file mm.jsonl",
    )
]
FAULTS += [
    (
        f"{SWEEP} '--model_name_or_path m --columns text --validation_mm_file x'",
        "--validation_mm_file",
    )
]
# With --columns, they are used, so the next error is found.
FAULTS += [
    (f"{command} --columns text {option}", "absent")
    for command in (
        "attack --model absent --data absent.jsonl",
        "certify --model absent --synonyms table.json --data absent.jsonl",
        "contrast --model absent --data absent.jsonl",
        "perturb --data absent.jsonl",
    )
    for option in OWN_TASK
]
FAULTS += [
    (
        f"attack --model absent --data absent.jsonl --columns text --label-names a b {option}",
        "absent",
    )
    for option in ("--skip-labels a", "--skipped-labels a", "--skipped_labels a")
]
# Outputs that cannot be written, for each option of each command.
FAULTS += [
    (f"{command} --{option} {path}", keyword)
    for command, names in (
        (ATTACK_ROWS, "json rows csv html export"),
        (f"{ATTACK} --text a b", "json"),
        (CERTIFY, "json rows"),
        (CONTRAST, "json rows"),
        ("compare a.json b.json", "json"),
        (PERTURB, "json"),
        ("demo", "json"),
        ("report out", "json output"),
        (BUILD, "output"),
        (f"{BUILD} --output new.json", "json"),
        ("lexicon info table.json", "json"),
    )
    for option in names.split()
    for path, keyword in (("out", "is a folder"), ("a.json/x", "no folder"), ("no/x", "no folder"))
]
# Outputs that are also inputs.
FAULTS += [
    (words, "overwrite")
    for words in (
        f"{ATTACK_ROWS} --json ./rows.jsonl",
        f"{ATTACK_ROWS} --rows link",
        f"{ATTACK_ROWS} --synonyms table.json --export table.json",
        f"{ATTACK_ROWS} --attacks toxicity --toxic-words words.txt --html words.txt",
        f"{ATTACK_ROWS} --canonicalize table.json --json table.json",
        f"{CERTIFY} --json table.json",
        f"{CONTRAST} --rows rows.jsonl",
        "compare a.json b.json --json b.json",
        "compare a.json b.json --rows a.jsonl rows.jsonl --json rows.jsonl",
        "compare a.json b.json --json a.jsonl",
        f"{PERTURB} --json rows.jsonl",
        f"{BUILD} --output words.txt",
        "lexicon build synonyms --data x rows.jsonl --output rows.jsonl",
        "lexicon convert table.json --output table.json",
        "lexicon info table.json --json table.json",
        "attack --task snli --data rows.jsonl --model m --json m/config.json",
        "certify --task snli --model m --synonyms t --data rows.jsonl --rows m/model.safetensors",
        "report m --output m/tokenizer.json",
    )
]
# The same file for two outputs.
FAULTS += [
    (words, "one file")
    for words in (
        f"{ATTACK_ROWS} --json new --html ./new",
        f"{ATTACK_ROWS} --rows new --csv new",
        f"{BUILD} --output new --json new",
        "report out --output new --json new",
        "report out --json out/report.html",
    )
]
CALLS = [refused_command(words, keyword) for words, keyword in FAULTS]
