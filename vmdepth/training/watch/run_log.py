"""What a run leaves to look at: TensorBoard's curves, and pictures."""

from __future__ import annotations

from pathlib import Path

from vmdepth.data.clips import TrainingClips
from vmdepth.evaluation.accuracy import Accuracy
from vmdepth.training.run_folder import PICTURES
from vmdepth.training.students import Student
from vmdepth.training.watch.preview import student_and_truth, write_picture


class RunLog:
    """Of the run in a folder, from a step on: what an earlier process wrote of later steps is taken back."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """A point for each of some curves, by their names."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def held_out(self, step: int, found: Accuracy) -> None:
        """What a validation found."""
        self.numbers(step, {"held out/delta1": found.delta1, "held out/absrel": found.absrel})

    def picture(self, step: int, model: Student, clips: TrainingClips) -> None:
        """What the student gives for some clips beside what is true."""
        picture = student_and_truth(model, clips)
        self._writer.add_image("colour, truth, student", picture, step, dataformats="HWC")
        write_picture(picture, self._folder / PICTURES / f"step_{step:06d}.png")

    def flush(self) -> None:
        """Have what was told so far on disk."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
