import json

import pytest

from data_collection.cluster.messages import (
    JobMessage,
    RoundOrder,
    from_report,
    loaded_of,
    parse,
    to_report,
)
from data_collection.episodes import EpisodeAttributes, EpisodeRecord
from data_collection.player import Breakdown, Outcome, Ready
from data_collection.schema import CollectConfig
from tests.support.toy_round import write_round
from trainer.config import load_config
from trainer.errors import ConfigError, DataError, UserError
from trainer.registry import UnknownComponentError
from trainer.rollout import RolloutJob

JOB = RolloutJob("000_000003", 4)
RECORD = EpisodeRecord(
    JOB.id, 7, -1.5, 1000, "ab", "cd", {"expert": 1.0}, EpisodeAttributes(seed=4, success=True)
)


@pytest.mark.parametrize(
    "message",
    [
        Ready({"control_hz": 10.0, "observations": {"observation.state": [2]}}, 20),
        Outcome(JOB, RECORD, labelling_seconds=0.5),
        Outcome(JOB, None),
        Breakdown(JOB, "Traceback …"),
    ],
)
def test_a_workers_message_arrives_as_it_was_sent(message):
    assert from_report(to_report(message)) == message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("a"), ConfigError),
        (UnknownComponentError("a"), ConfigError),
        (DataError("a"), DataError),
        (UserError("a"), UserError),
    ],
)
def test_errors_keep_their_kind_and_words(error, kind):
    arrived = from_report(to_report(error))
    assert type(arrived) is kind
    assert str(arrived) == "a"


def test_a_round_arrives_with_the_lines_of_its_values(tmp_path):
    path = write_round(tmp_path)
    loaded = load_config(path, CollectConfig, ["episodes=3"])
    order = RoundOrder.of(loaded, folder="/f", prefix="p", student=None, renderers=[])
    arrived = loaded_of(parse(RoundOrder, order.model_dump_json()))
    assert arrived.config == loaded.config
    assert arrived.root == tmp_path
    assert arrived.at("environment", "type") == loaded.at("environment", "type")
    assert arrived.at("episodes") == "--set episodes: episodes"


def test_a_machine_without_the_runners_folder_uses_its_own_project(tmp_path):
    loaded = load_config(write_round(tmp_path), CollectConfig)
    order = RoundOrder.of(loaded, folder=None, prefix="p", student=None, renderers=[])
    elsewhere = order.model_copy(update={"root": "/no/such/folder"})
    assert (loaded_of(elsewhere).root / "data_collection" / "cluster").is_dir()


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}",
        json.dumps({"id": "../../etc/passwd", "seed": 1}),
        json.dumps({"id": "a/b", "seed": 1}),
        json.dumps({"id": "a", "seed": -1}),
        json.dumps({"id": "a", "seed": "1"}),
        json.dumps({"id": "a", "seed": 1, "code": "import os"}),
    ],
)
def test_what_is_no_job_is_refused(text):
    with pytest.raises(UserError, match="a JobMessage on the cluster is not understood"):
        parse(JobMessage, text)


def test_a_report_about_another_job_than_its_episodes_is_refused():
    report = json.loads(to_report(Outcome(JOB, RECORD)))
    report["job"]["id"] = "000_000004"
    with pytest.raises(UserError, match="reports episode 000_000003 as the outcome of job"):
        from_report(json.dumps(report))


def test_a_malformed_manifest_line_is_refused():
    report = json.loads(to_report(Outcome(JOB, RECORD))) | {"record": "{}"}
    with pytest.raises(UserError, match="malformed manifest line"):
        from_report(json.dumps(report))
