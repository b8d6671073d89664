"""The last step of a job: copy its run folders to a storage that outlives the cluster.

python -m simbench.ray_cluster.store results s3://bucket/folder
"""

import sys
from pathlib import Path

from pyarrow import fs


def store(results: Path, storage: str) -> None:
    """Copy every run folder below ``results`` to ``storage``, a path or a URI.

    A run counts as whole once it has its ``summary.json``, so that file is copied last.
    """
    where, base = fs.FileSystem.from_uri(storage) if "://" in storage else (None, storage)
    target = where or fs.LocalFileSystem()
    for summary in results.glob("*/*/summary.json"):
        run = summary.parent
        place = f"{base.rstrip('/')}/{run.relative_to(results).as_posix()}"
        for file in sorted(run.rglob("*"), key=lambda file: file == summary):
            inside = f"{place}/{file.relative_to(run).as_posix()}"
            if file.is_dir():
                target.create_dir(inside, recursive=True)
                continue
            target.create_dir(inside.rpartition("/")[0], recursive=True)
            with target.open_output_stream(inside) as stream:
                stream.write(file.read_bytes())
        print(f"stored {place}", file=sys.stderr)


if __name__ == "__main__":
    store(Path(sys.argv[1]), sys.argv[2])
