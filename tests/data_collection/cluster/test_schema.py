import pytest

from data_collection import dagger_runner
from data_collection.collect import collect_round
from data_collection.schema import CollectConfig
from tests.support.toy_round import write_round
from trainer.config import load_config
from trainer.errors import ConfigError

SECRETIVE = [
    "sftp://me:secret@host/rounds",
    "sftp://me:sec/secret@host/rounds",
    "sftp://:secret@host/rounds",
    "s3://bucket/rounds?key=secret",
    "simplecache::sftp://me:secret@host/rounds",
    "zip://x::sftp://me:secret@host/rounds",
]


@pytest.mark.parametrize("url", SECRETIVE)
def test_a_storage_with_secrets_is_refused_before_anything_is_written(tmp_path, url):
    path = write_round(tmp_path, cluster={"storage": url})
    with pytest.raises(ConfigError, match=r"collect\.yaml:\d+: cluster\.storage: ") as caught:
        collect_round(load_config(path, CollectConfig))
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)
    assert not (tmp_path / "rounds").exists()


@pytest.mark.parametrize("override", ["cluster.storage={}", "cluster={{storage: '{}'}}"])
@pytest.mark.parametrize("url", SECRETIVE)
def test_the_refusal_does_not_repeat_what_was_typed(tmp_path, override, url):
    path = write_round(tmp_path)
    with pytest.raises(ConfigError, match=r"^--set cluster.*: cluster\.storage: ") as caught:
        load_config(path, CollectConfig, [override.format(url)])
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)


def test_a_storage_with_a_colon_for_an_equals_sign_is_not_repeated(tmp_path):
    with pytest.raises(ConfigError, match=r"^--set cluster.storage: expected key=value") as caught:
        load_config(write_round(tmp_path), CollectConfig, [f"cluster.storage:{SECRETIVE[0]}"])
    assert "secret" not in str(caught.value)


def test_an_experiment_with_secrets_is_refused_before_anything_is_written(tmp_path):
    yaml = "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml"
    with pytest.raises(ConfigError, match=r"cluster\.storage: this URL comes with secrets"):
        dagger_runner.main(
            [
                *("--dagger_config", yaml, "--set", f"save_dir={tmp_path / 'run'}"),
                *("--set", f"cluster.storage={SECRETIVE[0]}"),
            ]
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["runs/store", "/a:b@c/d?e", "sftp://me@host:22/x", "s3://bucket/rounds", "file:///a"]
)
def test_other_storages_may_be_named(tmp_path, url):
    path = write_round(tmp_path, cluster={"storage": url})
    assert load_config(path, CollectConfig).config.cluster.storage == url
