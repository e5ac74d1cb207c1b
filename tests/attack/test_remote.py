"""Functions that call an endpoint: slow, failing and refusing calls to a local HTTP server."""

import asyncio
import hashlib
import json
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows, result

from hf_bat import HfBatError, certify
from hf_bat.attack import Attack, CallableModel, remote
from hf_bat.attack.answers import explain_missing
from hf_bat.evaluation.contrast import contrast_model

ROWS = made_rows(40, seed=3)
NAMES = ("entailment", "neutral", "contradiction")


class Endpoint(ThreadingHTTPServer):
    """A server that predicts like `hashed`; `status(texts, count)` may return a status other than 200."""

    daemon_threads = True

    def __init__(self, status=lambda texts, count: 200, refuses=lambda texts: False, seconds=0.0):
        endpoint = self
        self.asked: Counter = Counter()
        self.paid: Counter = Counter()
        self.under_way = self.most_under_way = 0
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                texts = tuple(json.loads(body))
                with lock:
                    endpoint.asked[texts] += 1
                    endpoint.under_way += 1
                    endpoint.most_under_way = max(endpoint.most_under_way, endpoint.under_way)
                    code = status(texts, endpoint.asked[texts])
                time.sleep(seconds)
                with lock:
                    endpoint.under_way -= 1
                    endpoint.paid[texts] += code == 200
                answer = None if refuses(texts) else hashed([texts])[0].tolist()
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ask(self, inputs):
        [texts] = inputs
        data = json.dumps(texts).encode()
        url = f"http://127.0.0.1:{self.server_address[1]}/"
        with urllib.request.urlopen(urllib.request.Request(url, data)) as response:
            return json.load(response)


@pytest.fixture
def endpoint():
    servers = []

    def start(**options):
        servers.append(Endpoint(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_DELAY", 0.001)


def attack(model, rows=ROWS, recipe="antonym", **options):
    return Attack(recipe, model, antonyms=ANTONYMS, synonyms=SYNONYMS, progress=False).run(
        rows, **options
    )


def draw(texts, count, share):
    """Return whether the n-th request for a text belongs to a deterministic share of all requests."""
    digest = hashlib.sha256(f"{texts}{count}".encode()).digest()
    return digest[0] < 256 * share


@pytest.mark.parametrize("recipe", ["antonym", "synonym"])
def test_an_endpoint_gives_the_report_of_a_local_function(endpoint, recipe):
    server = endpoint(seconds=0.002)
    report = attack(CallableModel(server.ask, "m", concurrency=6), recipe=recipe)
    assert result(report) == result(attack(CallableModel(hashed, "m"), recipe=recipe))
    assert 3 <= server.most_under_way <= 6
    assert report.about["calls"]["answered"] == server.asked.total()


def test_an_async_function_gives_the_same_report_also_inside_a_running_loop():
    under_way = most = 0

    async def ask(inputs):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return hashed(inputs)

    async def run_in_notebook():
        return attack(CallableModel(ask, "m", concurrency=5, inputs_per_call=3))

    report = asyncio.run(run_in_notebook())
    assert result(report) == result(attack(CallableModel(hashed, "m")))
    assert most == 5


def test_failing_calls_are_tried_again_and_change_nothing(endpoint):
    statuses = Counter()

    def status(texts, count):
        code = (429, 503)[count % 2] if draw(texts, count, 0.25) else 200
        statuses[code] += 1
        return code

    server = endpoint(status=status)
    model = CallableModel(server.ask, "m", concurrency=8, retries=20)
    report = attack(model)
    assert result(report) == result(attack(CallableModel(hashed, "m")))
    assert report.about["calls"]["retries"] == statuses[429] + statuses[503] > 10
    assert max(server.paid.values()) == 1


def test_a_restart_asks_nothing_twice_that_was_paid_for(endpoint, tmp_path):
    # A quarter of the calls fail permanently, so each start leaves rows without an answer.
    server = endpoint(status=lambda texts, count: 500 if draw(texts, count, 0.25) else 200)
    cache, rows_file = tmp_path / "answers.jsonl", tmp_path / "rows.jsonl"
    unanswered = []
    for _ in range(20):
        model = CallableModel(server.ask, "m", concurrency=4, retries=0, cache=cache)
        report = attack(model, rows_file=rows_file)
        unanswered.append(report["antonym"]["skipped_reasons"].get("no answer", 0))
        if not unanswered[-1]:
            break
    assert unanswered[0] > 5
    assert set(server.paid.values()) == {1} | ({0} & set(server.paid.values()))
    assert unanswered == sorted(unanswered, reverse=True)
    assert unanswered[-1] == 0
    expected = attack(CallableModel(hashed, "m"))
    assert report["antonym"]["asr"] == expected["antonym"]["asr"]
    assert [row["outcome"] for row in report.rows["antonym"]] == [
        row["outcome"] for row in expected.rows["antonym"]
    ]


def test_answers_survive_an_error_and_a_torn_line(endpoint, tmp_path):
    cache = tmp_path / "answers.jsonl"

    # Calls with a wrong key are not repeated, but earlier answers are kept.
    def status(texts, count):
        return 401 if server.paid.total() >= 30 else 200

    server = endpoint(status=status)
    with pytest.raises(HfBatError, match="401"):
        attack(CallableModel(server.ask, "m", concurrency=3, cache=cache))
    assert max(server.asked.values()) == 1
    paid = server.paid.total()
    lines = cache.read_text().splitlines()
    assert len(lines) == paid >= 30
    cache.write_text("\n".join(lines)[:-9])
    working = endpoint()
    report = attack(CallableModel(working.ask, "m", cache=cache))
    assert result(report) == result(attack(CallableModel(hashed, "m")))
    assert report.about["calls"]["from_cache"] == paid - 1
    # The next start also reads the line after the incomplete one.
    never = CallableModel(lambda inputs: pytest.fail("asked"), "m", cache=cache)
    assert result(attack(never)) == result(report)


def test_a_hanging_call_ends_at_its_timeout(endpoint):
    slow = [row for row in ROWS if row["idx"] in (1, 2)]
    texts = {(row["premise"], row["hypothesis"]) for row in slow}
    server = endpoint()

    async def ask(inputs):
        if tuple(inputs[0]) in texts:
            await asyncio.sleep(60)
        return hashed(inputs)

    begun = time.perf_counter()
    report = attack(CallableModel(ask, "m", timeout=0.05, retries=1, concurrency=8))
    assert time.perf_counter() - begun < 20
    assert report["antonym"]["skipped_reasons"]["no answer"] == 2
    assert not server.asked


def test_an_endpoint_that_is_down_stops_the_run(endpoint):
    server = endpoint(status=lambda *_: 503)
    with pytest.raises(HfBatError, match="does not answer"):
        attack(CallableModel(server.ask, "m", concurrency=2, retries=2))
    assert server.asked.total() < 60


def test_retry_after_is_obeyed(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(remote.asyncio, "sleep", sleep)

    class Limited(Exception):
        status_code = 429
        headers = {"Retry-After": "7"}

    calls = iter([Limited(), Limited(), None])

    def ask(inputs):
        if (error := next(calls)) is not None:
            raise error
        return [0.5, 0.5]

    model = CallableModel(ask, concurrency=1)
    assert model.probabilities([("a", "b")]).tolist() == [[0.5, 0.5]]
    assert slept == [7, 7]


def test_max_queries_leaves_rows_without_an_answer(endpoint, tmp_path):
    server, cache = endpoint(), tmp_path / "answers.jsonl"
    full = attack(CallableModel(hashed, "m"))
    first = attack(
        CallableModel(server.ask, "m", concurrency=2, max_queries=50, cache=cache),
        rows_file=tmp_path / "rows.jsonl",
    )
    assert server.asked.total() == 50
    assert first["antonym"]["skipped_reasons"]["no answer"] > 0
    assert first.about["calls"]["max_queries"] == 50
    assert any("no answer" in line for line in first["antonym"]["warnings"])
    # The rows with all answers have the same outcome as without a limit.
    outcomes = {row["idx"]: row["outcome"] for row in full.rows["antonym"]}
    kept = [r for r in first.rows["antonym"] if r.get("reason") != "no answer"]
    assert kept
    assert all(outcomes[row["idx"]] == row["outcome"] for row in kept)
    again = attack(
        CallableModel(server.ask, "m", concurrency=2, cache=cache),
        rows_file=tmp_path / "rows.jsonl",
    )
    assert max(server.asked.values()) == 1
    assert again["antonym"]["asr"] == full["antonym"]["asr"]


# ---- abstentions ------------------------------------------------------------------------------


def is_refused(texts):
    return hashlib.sha256("|".join(texts).encode()).digest()[31] < 64


def refusing(inputs):
    return [
        None if is_refused(texts) else row
        for texts, row in zip(inputs, hashed(inputs), strict=True)
    ]


@pytest.mark.parametrize("recipe", ["antonym", "synonym"])
def test_abstentions_are_neither_kept_nor_flipped(recipe):
    report = attack(CallableModel(refusing, "m"), recipe=recipe)
    summary = report[recipe]
    refused = [row for row in ROWS if is_refused((row["premise"], row["hypothesis"]))]
    assert summary["skipped_reasons"]["abstained"] == len(refused) > 3
    assert summary["abstained"] > 5
    assert any("abstained" in line for line in summary["warnings"])
    successes = [row for row in report.rows[recipe] if row["outcome"] == "succeeded"]
    assert successes
    for row in successes:
        # A success shows a prediction: a different one if fickle, the same if obstinate.
        assert not is_refused(row["perturbed"])
        flips = hashed([tuple(row["perturbed"])])[0].argmax() != row["label"]
        assert flips == (recipe == "synonym")


def test_abstentions_equal_a_brute_force():
    from test_outcomes import swaps

    attempted = succeeded = candidates = abstained = 0
    for row in ROWS:
        texts, label = (row["premise"], row["hypothesis"]), row["label"]
        if is_refused(texts) or hashed([texts])[0].argmax() != label or label == 1:
            continue
        edits = dict.fromkeys(swaps(row, ANTONYMS))
        answered = [edit for edit in edits if not is_refused(edit)]
        attempted += 1
        candidates += len(answered)
        abstained += len(edits) - len(answered)
        succeeded += any(hashed([edit])[0].argmax() == label for edit in answered)
    summary = attack(CallableModel(refusing, "m"))["antonym"]
    assert (summary["attempted"], summary["succeeded"]) == (attempted, succeeded)
    assert (summary["candidates"], summary["abstained"]) == (candidates, abstained)


def test_a_refusal_may_count_as_a_label():
    model = CallableModel(refusing, "m", labels=NAMES, on_refusal="contradiction")

    def judge(inputs):
        return [
            [0, 0, 1] if is_refused(texts) else row
            for texts, row in zip(inputs, hashed(inputs), strict=True)
        ]

    report, expected = attack(model), attack(CallableModel(judge, "m", labels=NAMES))
    assert result(report) == result(expected)
    with pytest.raises(HfBatError, match="abstained"):
        attack(CallableModel(refusing, "m", on_refusal="error"))


def test_a_contrast_set_skips_what_has_no_prediction():
    rows = [
        {"idx": i, "original_idx": None if i % 4 == 0 else i - i % 4, **{
            name: row[name] for name in ("premise", "hypothesis", "label")
        }}
        for i, row in enumerate(ROWS)
    ]  # fmt: skip
    report = contrast_model(CallableModel(refusing, "m"), rows)
    gone = {i for i, row in enumerate(ROWS) if is_refused((row["premise"], row["hypothesis"]))}
    edits_of_gone = {i for i in range(len(rows)) if i - i % 4 in gone} - gone
    assert report.skipped == {"abstained": len(gone), "original skipped": len(edits_of_gone)}
    assert report.originals + report.edits == len(rows) - len(gone | edits_of_gone)
    assert all(not is_refused((ROWS[r["idx"]]["premise"], ROWS[r["idx"]]["hypothesis"]))
               for r in report.row_results)  # fmt: skip


def test_a_certificate_counts_abstentions_as_votes_for_no_label():
    # One word with three choices. One of them is refused, so a label has two thirds of the votes.
    def model(inputs):
        return [None if "kid" in pair[0] else [0.9, 0.1, 0.0] for pair in inputs]

    words = {"child": ["kid", "youngster"], "kid": ["child", "youngster"],
             "youngster": ["child", "kid"]}  # fmt: skip
    rows = [{"premise": "A child.", "hypothesis": "A pet.", "label": 0}]
    report = certify(CallableModel(model, "m", labels=NAMES), rows, synonyms=words, samples=512)
    [row] = report.rows
    assert row["votes"][0] + row["abstentions"] == row["samples"]
    assert 0.6 < row["votes"][0] / row["samples"] < 0.73
    assert row["p_lower"] < 2 / 3 < row["p_upper"]
    assert report["accuracy_plain"]["rate"] == 1.0

    unanswered = {"A kid."}

    def failing(inputs):
        if inputs[0][0] in unanswered:
            raise TimeoutError
        return [0.9, 0.1, 0.0]

    model = CallableModel(failing, "m", labels=NAMES, concurrency=4, retries=0)
    report = certify(model, rows, synonyms=words, samples=64)
    assert report["skipped_reasons"] == {"no answer": 1}


# ---- answers in words -------------------------------------------------------------------------


def test_label_words_and_scores_are_read_by_name():
    order = ("contradiction", "entailment", "neutral")

    def in_words(inputs):
        return [f"Label: {NAMES[row.argmax()]}." for row in hashed(inputs)]

    def as_scores(inputs):
        answers = [dict(zip(NAMES, row, strict=True)) for row in hashed(inputs)]
        return [{name: answer[name] for name in order} for answer in answers]

    def as_logs(inputs):
        # The label's probability is split between both spellings of its token.
        return [
            {f" {n.upper()}": np.log(p / 2) for n, p in answer.items()}
            | {n: np.log(p / 2) for n, p in answer.items()}
            | {"The": -5.0}  # another likely token, which is no label
            for answer in as_scores(inputs)
        ]

    def as_pipeline(inputs):
        return [[{"label": n, "score": p} for n, p in a.items()] for a in as_scores(inputs)]

    expected = result(attack(CallableModel(hashed, "m")))
    assert result(attack(CallableModel(as_scores, "m"))) == expected
    assert result(attack(CallableModel(as_pipeline, "m"))) == expected
    # With a different order of outputs. Reports contain label names, numbered as in the model.
    swapped = attack(CallableModel(as_scores, "m", labels=order))["antonym"]
    assert swapped["asr"] == attack(CallableModel(hashed, "m"))["antonym"]["asr"]
    asked = [("A hot day.", "A day."), ("Dogs run.", "It is hot.")]
    logs = CallableModel(as_logs, labels=NAMES).probabilities(asked)
    np.testing.assert_allclose(logs, hashed(asked), rtol=1e-9)
    summary = attack(CallableModel(in_words, "m"))["antonym"]
    assert summary["asr"] == attack(CallableModel(hashed, "m"))["antonym"]["asr"]
    # A label has the probability 1, which no edit can increase.
    assert summary["asr_confident"] is None
    assert any("without probabilities" in line for line in summary["warnings"])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("entailment", 0),
        ("ENTAILMENT.", 0),
        ("**Contradiction**", 2),
        ("The answer is: neutral", 1),
        ('{"label": "contradiction"}', 2),
        ("It is not an entailment.", None),
        ("entailment or neutral", None),
        ("I'm sorry, but I can't help with that.", None),
        ("", None),
    ],
)
def test_a_sentence_gives_the_only_label_that_it_names(text, label):
    model = CallableModel(lambda inputs: [text for _ in inputs], labels=NAMES)
    [answer] = model.probabilities([("a", "b")])
    expected = "abstained" if label is None else None
    assert explain_missing(answer) == expected
    if label is not None:
        assert answer.tolist() == [float(i == label) for i in range(3)]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"model": "m", "input": [["a"]], "answer": 1}',
        '{"model": "m", "input": [1, 2], "answer": 1}',
        '{"model": "m", "input": 1, "answer": 1}',
        '["model"]',
    ],
)
def test_foreign_lines_of_a_cache_are_refused_or_asked_again(line, tmp_path):
    cache = tmp_path / "answers.jsonl"
    good = {"model": "m", "input": ["a", "b"], "answer": [0.5, 0.5]}
    cache.write_text(f"{json.dumps(good)}\n{line}\n")
    try:
        assert len(remote.AnswerCache(cache, "m")) == 1
    except HfBatError as error:
        assert f"{cache}, line 2" in str(error) and "\n" not in str(error)
    assert cache.read_text() == f"{json.dumps(good)}\n{line}\n"


# ---- functions that exit ----------------------------------------------------------------------


async def exit_later(inputs):
    await asyncio.sleep(0)
    raise SystemExit("no key")


async def cancel(inputs):
    raise asyncio.CancelledError


def exit_now(inputs):
    raise SystemExit("no key")


def cancel_now(inputs):
    raise asyncio.CancelledError


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("function", [exit_later, cancel, exit_now, cancel_now])
def test_a_function_that_exits_ends_the_attack(function, timeout):
    outcomes = []

    def run():
        try:
            model = CallableModel(function, concurrency=3, timeout=timeout, labels=NAMES)
            model.probabilities([("a", "b"), ("c", "d")])
        except BaseException as error:
            outcomes.append(error)

    # Another thread, because a hang cannot be interrupted.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert [type(outcome) for outcome in outcomes] == [HfBatError]
    assert isinstance(outcomes[0].__cause__, (SystemExit, asyncio.CancelledError))
    # Later calls are answered.
    after = CallableModel(hashed, concurrency=3).probabilities([("a", "b")])
    np.testing.assert_allclose(after, hashed([("a", "b")]))
