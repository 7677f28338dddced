"""EEG foundation models behind one protocol: what they expect, their layers, their tokens.

The built-in architectures are braindecode's; any other module comes in by its dotted path
(docs/teachers.md). A teacher is a module (batch, n_chans, n_times) -> logits that can also give its
hidden states as tokens (batch, layers, n_chans, n_patches, d), so that the methods know one form
only.
"""

from distill.teachers.protocol import SignalNeeds, Teacher, TokenLayout
from distill.teachers.registry import ARCHITECTURES, architecture, build_teacher, check_signal
from distill.teachers.table import build, check, layout, needs
from distill.teachers.tapped import TappedTeacher

BraindecodeTeacher = TappedTeacher  # its name while braindecode's were the only ones

__all__ = ["ARCHITECTURES", "BraindecodeTeacher", "SignalNeeds", "TappedTeacher", "Teacher",
           "TokenLayout", "architecture", "build", "build_teacher", "check", "check_signal",
           "layout", "needs"]  # fmt: skip
