import mujoco
import pytest

from data_collection.rendering.backends import choose_backend
from trainer.errors import UserError


@pytest.fixture(params=["raycast", "opengl"])
def backend(request):
    """Every way of drawing that works on this machine."""
    try:
        return choose_backend(request.param)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def opengl():
    try:
        return choose_backend("opengl")
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def simulate():
    def start(xml):
        model = mujoco.MjModel.from_xml_string(xml)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        return model, data

    return start
