"""The tasks by name; the only list of them in the package."""

from vision_tasks.errors import unknown_name
from vision_tasks.tasks.base import Output, Report, Task
from vision_tasks.tasks.classify import CLASSIFY
from vision_tasks.tasks.detect import DETECT
from vision_tasks.tasks.segment import SEGMENT

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFY, DETECT, SEGMENT)}  # type: ignore[type-arg]  # mixed


def get_task(name: str) -> Task:  # type: ignore[type-arg]  # which target it has is known only at run time
    """The task called `name`. Raises UserError with the right names."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


__all__ = ["CLASSIFY", "DETECT", "SEGMENT", "TASKS", "Output", "Report", "Task", "get_task"]
