import sys

import numpy as np
import pytest
import wandb

from trainer.errors import ConfigError, UserError
from trainer.loggers.wandb_logger import WandbLogger
from trainer.video import write_video


def test_an_offline_run_keeps_figures_pictures_and_videos_and_goes_on_under_its_name(tmp_path):
    save_dir = tmp_path / "runs" / "policy" / "exp1"
    save_dir.mkdir(parents=True)
    film = save_dir / "episode_7.mp4"
    write_video(film, [np.full((32, 32, 3), 10 * i, np.uint8) for i in range(4)], 10)

    logger = WandbLogger(save_dir, project="project", mode="offline")
    logger.log_scalars(5, {"train/loss": 0.123456})
    logger.log_image(5, "input", np.zeros((4, 6, 3), np.uint8))
    logger.log_video(6, "evaluation/episode_7", film)
    logger.close()
    wandb.teardown()  # as when the process ends
    logger = WandbLogger(save_dir, project="project", mode="offline")
    logger.log_scalars(4, {"train/loss": 0.654321})  # a checkpoint before what was logged last
    logger.close()
    wandb.teardown()

    first, second = sorted((save_dir / "wandb").glob("offline-run-*/*.wandb"))
    assert first.name == second.name
    record = first.read_bytes()
    assert all(text in record for text in (b"policy/exp1", b"train/loss", b"0.123456", b"step"))
    assert b"0.654321" in second.read_bytes()
    assert len(list(first.parent.rglob("*.png"))) == 1
    assert next(first.parent.rglob("*.mp4")).read_bytes() == film.read_bytes()


def test_the_environment_says_how_to_log_where_the_experiment_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WandbLogger(tmp_path, project="project")
    logger.log_scalars(1, {"train/loss": 0.123456})
    logger.close()
    wandb.teardown()
    (record,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"0.123456" in record.read_bytes()


def test_a_missing_package_is_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"install offline-trainer\[wandb\]"):
        WandbLogger(tmp_path, project="project", mode="offline")


def test_online_without_a_login_is_an_error_that_names_the_way_out(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="mode: offline"):
        WandbLogger(tmp_path, project="project")
