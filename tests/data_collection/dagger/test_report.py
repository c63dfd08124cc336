import json
import re
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from playwright.sync_api import sync_playwright

from data_collection.dagger import plots
from data_collection.dagger.records import RoundRecord
from data_collection.dagger.report import headline, write_report
from data_collection.dagger.schema import DaggerConfig
from trainer.evaluation import Evaluation, wilson_interval
from trainer.video import write_video

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FRAMES, FPS = 12, 10
COLOURS = {"success": (20, 160, 40), "failure": (200, 30, 30)}


def evaluation(successes=0, returns=(1.0, 3.0), lengths=(20, 40)):
    trials = len(returns)
    return Evaluation(
        episodes=trials,
        success_rate=successes / trials,
        success_interval=wilson_interval(successes, trials),
        mean_return=float(np.mean(returns)),
        std_return=float(np.std(returns)),
        mean_length=float(np.mean(lengths)),
        seconds_per_decision=0.001,
        seconds=1.0,
        results=tuple(
            {"seed": seed, "success": seed < successes, "return": each, "length": length}
            for seed, (each, length) in enumerate(zip(returns, lengths, strict=True))
        ),
    )


def record(index, result, **changes):
    values = {
        "round": index,
        "data": f"data/round_{index:03d}",
        "checkpoint": f"train/round_{index:03d}/epoch_1",
        "driver": f"train/round_{index - 1:03d}/epoch_1" if index else None,
        "collected_successes": 1,
        "collected_returns": [1.0, 2.0],
        "lengths": [30, 20],
        "labels": 50,
        "expert_queries": 800,
        "actors": {"expert": 0.0, "student": 1.0, "other": 0.0}
        if index
        else {"expert": 1.0, "student": 0.0, "other": 0.0},
        "evaluation": result,
        "label_error": {"teacher": 0.1, "student": 0.4 / index} if index else None,
        "labelling_seconds": 2.0,
        "seconds": {"collect": 10.0, "train": 20.0, "evaluate": 30.0},
        "gradient_steps": 1000,
        "videos": [],
    }
    return RoundRecord(**values | changes)


@pytest.fixture
def config():
    return DaggerConfig(
        plugins=[],
        save_dir="runs/dagger/peg",
        n_rounds=2,
        environment={"type": "meta_world", "params": {"task": "peg <insert>"}},
        teacher={"type": "meta_world_expert"},
        phase1={"episodes": 2},
        train={"config": "experiment.yaml"},
    )


@pytest.fixture
def films(tmp_path):
    """Return a function that films outcomes of a round, one seed each, and returns the videos."""

    def film(index, *outcomes):
        folder = tmp_path / f"videos/round_{index:03d}"
        folder.mkdir(parents=True)
        names = [f"episode_{10**7 + i}_{outcome}.mp4" for i, outcome in enumerate(outcomes)]
        for name, outcome in zip(names, outcomes, strict=True):
            frame = np.full((64, 80, 3), COLOURS[outcome], np.uint8)
            write_video(folder / name, [frame] * FRAMES, FPS)
        return [str((folder / name).relative_to(tmp_path)) for name in names]

    return film


def drawn(draw, *arguments):
    axes = Figure().subplots()
    draw(axes, *arguments)
    return axes


def titles(page):
    return re.findall(r"<h3>(.*?)</h3>", page)


TEACHER = evaluation(2)


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([1], "Behaviour cloning 0.50 (teacher 1.00)"),
        ([0, 1], "Behaviour cloning 0.00 → DAgger 0.50 after 1 round (teacher 1.00)"),
        ([1, 0, 2], "Behaviour cloning 0.50 → DAgger 1.00 after 2 rounds (teacher 1.00)"),
    ],
)
def test_the_headline_compares_behaviour_cloning_dagger_and_teacher(results, sentence):
    records = [record(i, evaluation(successes)) for i, successes in enumerate(results)]
    assert headline(TEACHER, records) == sentence


def test_without_any_success_the_headline_gives_returns():
    returns = [(1000.0, 2000.0), (3400.0, 3600.0)]
    records = [record(i, evaluation(returns=pair)) for i, pair in enumerate(returns)]
    teacher = evaluation(returns=(3700.0, 3800.0))
    expected = "Behaviour cloning 1,500 → DAgger 3,500 after 1 round (teacher 3,750)"
    assert headline(teacher, records) == expected


def test_the_summary_adds_up_the_rounds(tmp_path, config):
    records = [
        record(0, evaluation(0), labels=100, expert_queries=100),
        record(1, evaluation(1, returns=(5.0, 6.0)), labels=50, expert_queries=850),
    ]
    write_report(tmp_path, config, TEACHER, records)
    summary = json.loads((tmp_path / "summary.json").read_text())
    rounds = summary.pop("rounds")
    assert summary == {
        "final_success_rate": 0.5,
        "final_return": 5.5,
        "best_round": 1,
        "best_checkpoint": "train/round_001/epoch_1",
        "teacher_success_rate": 1.0,
        "teacher_return": 2.0,
        "labels": 150,
        "expert_queries": 950,
    }
    assert [r["labels"] for r in rounds] == [100, 50]
    assert [r["return"] for r in rounds[1]["evaluation"]["results"]] == [5.0, 6.0]


def test_success_is_drawn_with_its_interval():
    records = [record(0, evaluation(0)), record(1, evaluation(2))]
    axes = drawn(plots.draw_success, TEACHER, records)
    cloning, dagger = (c.lines[2][0].get_segments()[0][:, 1] for c in axes.containers)
    # Wilson with no success of two: the upper end is z² / (2 + z²).
    edge = 1.959964**2 / (2 + 1.959964**2)
    np.testing.assert_allclose(cloning, [0, edge], atol=1e-12)
    np.testing.assert_allclose(dagger, [1 - edge, 1], atol=1e-12)


def test_returns_are_drawn_with_two_standard_errors():
    axes = drawn(plots.draw_returns, TEACHER, [record(0, evaluation(returns=(1.0, 3.0)))])
    interval = axes.containers[0].lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose(interval, [2 - 2**0.5, 2 + 2**0.5])


def test_growth_stacks_each_round_on_all_before():
    records = [record(i, TEACHER) for i in range(3)]
    axes = drawn(plots.draw_growth, records, [100, 50, 25])
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[1]]
    assert tops == [100, 150, 175]
    assert [bar.get_height() for bar in axes.containers[1]] == [100, 50, 25]


def test_label_errors_are_drawn_where_there_are_some():
    axes = drawn(plots.draw_label_errors, [record(i, TEACHER) for i in range(3)])
    student, teacher = axes.get_lines()
    assert list(student.get_xdata()) == [1, 2]
    assert list(student.get_ydata()) == [0.4, 0.2]
    assert list(teacher.get_ydata()) == [0.1, 0.1]


def test_a_task_without_success_puts_the_return_first(tmp_path, config, films):
    videos = films(1, "failure")
    records = [record(0, evaluation()), record(1, evaluation(), videos=videos)]
    write_report(tmp_path, config, evaluation(), records)
    page = (tmp_path / "report.html").read_text()
    assert titles(page)[0] == "Return"
    assert "Success" not in page
    assert "failure, seed" not in page


def test_behaviour_cloning_alone_has_a_report(tmp_path, config):
    write_report(tmp_path, config, TEACHER, [record(0, evaluation(1))])
    page = (tmp_path / "report.html").read_text()
    assert "Label error of the driver" not in titles(page)
    assert "evaluation.video_every" in page
    assert "Written after round 0 of 2" in page


def test_the_table_greys_out_what_was_set_aside(tmp_path, config):
    records = [record(0, evaluation(1)), record(1, evaluation(0), set_aside=True)]
    write_report(tmp_path, config, TEACHER, records)
    rows = re.findall(r"<tr.*?</tr>", (tmp_path / "report.html").read_text())
    assert [row.startswith('<tr class="faint">') for row in rows] == [False, False, True]
    cells = re.findall(r"<td>(.*?)</td>", rows[2])
    assert cells == [
        *("1 (set aside)", "0.00", "0.00–0.66", "2.0 ± 1.0", "30", "2"),
        *("100", "1,600", "0.400", "1,000", "1.0"),
    ]


def test_a_round_in_between_is_shown_when_it_alone_has_a_failure(tmp_path, config, films):
    outcomes = [["success"], ["failure", "success"], ["success"], ["success"]]
    records = [record(i, TEACHER, videos=films(i, *o)) for i, o in enumerate(outcomes)]
    write_report(tmp_path, config, TEACHER, records)
    shown = [title for title in titles((tmp_path / "report.html").read_text()) if "Round" in title]
    assert shown == ["Round 0, behaviour cloning", "Round 1, DAgger", "Round 3, DAgger"]


def test_the_same_figures_give_the_same_page(tmp_path, config):
    pages = []
    for _ in range(2):
        write_report(tmp_path, config, TEACHER, [record(0, evaluation(1)), record(1, TEACHER)])
        pages.append((tmp_path / "report.html").read_bytes())
    assert pages[0] == pages[1]


_PICTURES = """
() => [...document.images].map(image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return {name: image.alt, width: image.naturalWidth, colours: new Set(
        new Uint32Array(pixels.buffer)).size};
})
"""
_VIDEOS = """
() => Promise.all([...document.querySelectorAll("video")].map(async video => {
    const seen = new Promise(done => video.requestVideoFrameCallback(done));
    await video.play();
    await seen;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return {caption: video.parentElement.innerText.trim(), seconds: video.duration,
            size: [video.videoWidth, video.videoHeight],
            colour: [...context.getImageData(8, 8, 1, 1).data.slice(0, 3)]};
}))
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_every_plot_and_plays_every_video(tmp_path, config, films, width):
    records = [
        record(0, evaluation(0), videos=films(0, "failure", "success")),
        record(1, evaluation(2), videos=films(1, "success", "success")),
    ]
    write_report(tmp_path, config, TEACHER, records)
    requests, complaints = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri())
        title, heading = page.title(), page.inner_text("h1")
        pictures, videos = page.evaluate(_PICTURES), page.evaluate(_VIDEOS)
        page_width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert title == "DAgger on peg <insert>"
    assert heading == "Behaviour cloning 0.00 → DAgger 1.00 after 1 round (teacher 1.00)"
    assert page_width == width  # nothing sticks out
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert complaints == []
    assert [picture["name"] for picture in pictures] == [
        *("Success rate", "Return", "Label error of the driver", "Episode lengths"),
        *("Labelled states", "Expert queries", "Who acted", "Time"),
    ]
    assert all(picture["width"] > 300 and picture["colours"] > 10 for picture in pictures)
    assert [video["caption"] for video in videos] == [
        "failure, seed 10000000",
        "success, seed 10000001",
        "success, seed 10000000",
        "success, seed 10000001",
    ]
    for video in videos:
        assert video["seconds"] == pytest.approx(FRAMES / FPS, abs=0.02)
        assert video["size"] == [80, 64]
        expected = COLOURS[video["caption"].split(",")[0]]
        np.testing.assert_allclose(video["colour"], expected, atol=12)
