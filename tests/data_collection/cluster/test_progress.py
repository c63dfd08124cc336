import logging

import pytest

from data_collection.cluster.news import Beat, RenderNews, TeacherNews
from data_collection.cluster.progress import Progress, advice


def teacher(waited_s: float = 0.0, rendering_s: float = 0.0) -> TeacherNews:
    beat = Beat(waited_s=waited_s, rendering_s=rendering_s)
    return TeacherNews(silent_s=0, playing_s=0, jobs=1, beat=beat)


def renderer(pictures: int, busy_s: float) -> RenderNews:
    return RenderNews(calls=1, pictures=pictures, busy_s=busy_s)


def test_rates_are_those_of_the_time_since_the_last_report(caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    progress = Progress(30.0, lambda: now[0])
    for _ in range(4):
        progress.count("teacher_0")
    now[0] = 29.0
    progress.report({"teacher_0": teacher()}, {}, 2)
    assert caplog.text == ""
    now[0] = 60.0
    progress.report({"teacher_0": teacher(), "teacher_1": teacher()}, {"r": renderer(0, 0)}, 2)
    assert "episodes a minute: teacher_0 4.0, teacher_1 0.0; 2 under way" in caplog.text
    caplog.clear()
    now[0] = 90.0
    progress.report({"teacher_0": teacher()}, {"r": renderer(50, 29.0)}, 0)
    assert "teacher_0 0.0" in caplog.text
    assert "pictures a minute: r 100" in caplog.text


def test_hints_come_from_what_changed_since_the_last_report(caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    progress = Progress(10.0, lambda: now[0])
    for i, rendering_s in enumerate((100.0, 109.0, 109.5), start=1):
        now[0] = 10.0 * i
        progress.report({"a": teacher(rendering_s=rendering_s)}, {"r": renderer(i, 10.0 * i)}, 1)
    assert caplog.text.count("teachers wait for pictures 90% of their time: add render nodes") == 1


@pytest.mark.parametrize(
    ("shares", "hint"),
    [
        ({"waiting": 0.0, "rendering": 0.6, "idle": 0.0}, "add render nodes"),
        ({"waiting": 0.0, "rendering": 0.1, "idle": 0.6}, "add teacher nodes"),
        ({"waiting": 0.5, "rendering": 0.0, "idle": 0.9}, "teachers have no job 50%"),
    ],
)
def test_what_is_short_decides_the_hint(shares, hint):
    assert hint in (advice(**shares) or "")


def test_a_balanced_cluster_gets_no_hint():
    assert advice(waiting=0.1, rendering=0.2, idle=0.2) is None
