"""Bad calls of `hf_bat.sweep`: flags of runs and axes of grids."""

from bad_calls import BadCall

from hf_bat.sweep import make_grid, parse_flags, read_grid

BASE = "--model_name_or_path m --task snli"


def refuse_axes(keyword, *axes):
    return BadCall(" ".join(axes), lambda _: make_grid(parse_flags(BASE), read_grid(axes)), keyword)


def refuse_flags(keyword, flags):
    return BadCall(flags, lambda _: make_grid(parse_flags(flags), {}), keyword)


CALLS = [
    refuse_axes("name=value", "alpha"),
    refuse_axes("name=value", "alpha=1,,2"),
    refuse_axes("twice", "alpha=1,1.0"),
    refuse_axes("twice", "seed=1,01"),
    refuse_axes("twice", "alpha=1", "alpha=2"),
    refuse_axes("twice", "attacks=antonym synonym,antonym  synonym"),
    refuse_axes("--alhpa", "alhpa=1"),
    refuse_axes("'tripelt'", "method=tripelt"),
    refuse_axes("margin", "margin=1"),
    refuse_axes("--gradient_accumulation_steps", "gradient_accumulation_steps=1,0"),
    refuse_axes("--output_dir", "output_dir=x"),
    refuse_axes("nowhere.jsonl", "train_file=nowhere.jsonl"),
    refuse_axes("nobody/x", "synonyms=hf://datasets/nobody/x"),
    refuse_axes("hf://datasets/OWNER/NAME", "synonyms=hf://nobody/x"),
    refuse_axes("--resume_from_checkpoint", "resume_from_checkpoint=x"),
    refuse_axes("--hub_model_id", "hub_model_id=me/a,me/b"),
    refuse_axes("--representations", "representations=1,-1"),
    refuse_axes("--do_eval", "do_eval=True,False"),
    refuse_axes("'soft'", "learning-rate=soft"),
    refuse_axes("'nagation'", "method=pairwise", "obstinate_edits=antonym nagation"),
    refuse_axes("quotation", "obstinate_edits=antonym 'negation"),
    refuse_flags("--model_name_or_path", "--task snli"),
    refuse_flags("--columns", "--model_name_or_path m"),
    refuse_flags("did you mean 'snli'", "--model_name_or_path m --task snil"),
    refuse_flags("--nonsense", f"{BASE} --nonsense 3"),
    refuse_flags("--output_dir", f"{BASE} --output_dir o"),
    refuse_flags("resume by themselves", f"{BASE} --resume_from_checkpoint o/checkpoint-3"),
    refuse_flags("hf upload", f"{BASE} --push_to_hub"),
    refuse_flags("hf upload", f"{BASE} --hub-private-repo true"),
    refuse_flags("hf upload", f"{BASE} --hub_strategy end"),
    refuse_flags("close", f"{BASE} 'open"),
]
