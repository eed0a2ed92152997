"""points24 under FSDP on the CPU. accelerate leaves FSDP out where it finds no accelerator; torch does not."""

import sys

from accelerate import state
from accelerate.utils import DistributedType

from points24.harness.cli import main

_init = state.AcceleratorState.__init__


def _with_fsdp(self, *args, fsdp_plugin=None, **kwargs):
    """As accelerate does it for GPUs."""
    _init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


state.AcceleratorState.__init__ = _with_fsdp
if __name__ == "__main__":
    sys.exit(main())
