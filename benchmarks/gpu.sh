#!/bin/bash
# What hf_bat does on one GPU, in under 9 minutes: tests, steps, how busy the card is, attacks.
#
#     bash benchmarks/gpu.sh OUT MINILM_FOLDER [MPNET_FOLDER]
#     bash benchmarks/gpu.sh --dry OUT            # each stage on a CPU with a tiny model, a few minutes
#
# Needs torch with CUDA and the package's other dependencies; no network. PYTHON names the interpreter,
# DATA and DEV files of SNLI (the demo's rows otherwise), TEXTATTACK_PYTHON an interpreter with TextAttack
# 0.3.11 and CLASSIFIER a classifier's folder for the comparison with it, which is left out without both. A
# stage that fails or runs out of its time is named, and the others go on. OUT/table.md has the figures.
set -u
cd "$(dirname "$0")/.."
dry=
if [ "${1:-}" = --dry ]; then dry=1; shift; fi
if [ $# -lt 1 ] || { [ -z "$dry" ] && [ $# -lt 2 ]; }; then sed -n '2,10p' "$0"; exit 2; fi
out=$1; shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=${PYTHON:-python}
export PYTHONPATH="$PWD:$PWD/tests/helpers:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
data=${DATA:-hf_bat/demo/data/train.jsonl.gz}
dev=${DEV:-hf_bat/demo/data/validation.jsonl.gz}
models=("$@")
flags=(--gpu) device=(--device cuda) steps=30 warmup=8 rows=400 train_steps=150 cpu=()
methods=(normal triplet likelihood counterfactual)
precisions=(float32 bf16)
if [ -n "$dry" ]; then
  flags=() device=() steps=2 warmup=1 rows=60 train_steps=3 cpu=(--use_cpu)
  precisions=(float32)
  models=("$out/tiny")
  $python -c '
import sys
from tiny_models import tiny_model
from training_helpers import tokenizer_for_made_rows
tiny_model("bert").save_pretrained(sys.argv[1])
tokenizer_for_made_rows().save_pretrained(sys.argv[1])' "$out/tiny" || exit 1
fi

failed=()
run() {  # run NAME SECONDS COMMAND...: run a stage within its time; its output is in OUT/NAME.log
  local name=$1 limit=$2 begun=$SECONDS; shift 2
  # The whole script ends within nine minutes. A CPU that other work slows may take longer.
  local left=$((530 - SECONDS))
  if [ -n "$dry" ]; then limit=$((5 * limit)); elif [ $limit -gt $left ]; then limit=$left; fi
  if [ $limit -lt 10 ]; then echo "$name: no time left"; failed+=("$name"); return; fi
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  local status=$?
  echo "$name: status $status, $((SECONDS - begun)) s"
  if [ $status -ne 0 ]; then failed+=("$name"); tail -n 3 "$out/$name.log"; fi
}

# Tests of several GPUs are skipped on one.
run tests 90 $python -m pytest -q -p no:cacheprovider tests/test_gpu.py

# Steps of all methods take turns in one process.
for model in "${models[@]}"; do
  for precision in "${precisions[@]}"; do
    for workers in 0 4; do
      name=step-$(basename "$model")-$precision-$workers
      half=(); [ "$precision" = bf16 ] && half=(--bf16)
      run "$name" 60 $python benchmarks/bench_step.py --model "$model" --data "$data" "${flags[@]}" "${half[@]}" \
        --workers $workers --methods "${methods[@]}" --steps $steps --warmup $warmup --json "$out/$name.json"
    done
  done
done

# How busy the card is in a whole run, as nvidia-smi samples it five times a second.
for method in normal triplet; do
  for workers in 0 4; do
    name=busy-$method-$workers
    half=(--bf16); [ -n "$dry" ] && half=()
    sampler=
    if command -v nvidia-smi >/dev/null; then
      nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200 >"$out/$name.csv" &
      sampler=$!
    fi
    run "$name" 60 $python examples/run_glue_bat.py --model_name_or_path "${models[0]}" --task_name snli \
      --method $method --train_file "$data" --do_train --max_steps $train_steps --save_strategy no \
      --per_device_train_batch_size 32 --learning_rate 1e-4 --dataloader_num_workers $workers --report_to none \
      --output_dir "$out/$name" "${half[@]}" "${cpu[@]}"
    [ -n "$sampler" ] && kill $sampler
  done
done

# Attacks beside a bare forward pass over the same queries, of the largest model.
for precision in "${precisions[@]}"; do
  name=attack-$precision
  half=(--dtype float32); [ "$precision" = bf16 ] && half=(--dtype bfloat16)
  run "$name" 60 $python benchmarks/bench_attack.py --model "${models[-1]}" --data "$dev" --rows $rows \
    --attacks antonym negation synonym "${device[@]}" "${half[@]}" --json "$out/$name.json"
done

if [ -n "${TEXTATTACK_PYTHON:-}" ] && [ -n "${CLASSIFIER:-}" ]; then
  run textattack 100 $python benchmarks/attack_vs_textattack.py --textattack-python "$TEXTATTACK_PYTHON" \
    --model "$CLASSIFIER" --task snli --data "$dev" --antonyms "${ANTONYMS:?}" --synonyms "${SYNONYMS:?}" \
    --max-samples 100 --paddings dynamic --json "$out/textattack.json"
else
  echo "textattack: left out (TEXTATTACK_PYTHON and CLASSIFIER are not both set)"
fi

$python benchmarks/gpu_table.py "$out" >"$out/table.md" && cat "$out/table.md"
echo "$SECONDS s in all; failed stages: ${failed[*]:-none}"
[ ${#failed[@]} -eq 0 ]
