import dataclasses
import re
from pathlib import Path

from ingest.layout import Condition, Continuation, FieldLayout, Layout, Sign, layout_names

TEXT = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text()


def test_the_layout_in_the_documentation_is_one(tmp_path):
    [block] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "x.toml").write_text(block)
    layout = Layout.from_toml(tmp_path / "x.toml")
    assert layout.fields["account"].lookup == ("number", "currency")


def test_every_key_and_layout_is_documented():
    kinds = (Layout, FieldLayout, Condition, Continuation, Sign)
    names = {item.name for kind in kinds for item in dataclasses.fields(kind)} - {"origin", "asked"}
    got = {name for name in names if not re.search(rf"\b{name}\b", TEXT)}
    assert got == set()
    assert all(f"`{name}`" in TEXT for name in layout_names())
