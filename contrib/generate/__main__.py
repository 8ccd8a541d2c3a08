"""Write the generated files: ``python -m contrib.generate``."""

from __future__ import annotations

from contrib.generate import files

for path, text in files().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
