import ast

from tests.support.paths import ROOT
from trainer.artifacts import source_code
from trainer.artifacts.source_code import imported

# An import in each kind of block that a statement may have.
EVERYWHERE = """
try:
    import trainer.a
except ValueError:
    import trainer.b
else:
    import trainer.c
finally:
    from trainer import d
match x:
    case 1:
        import trainer.e
with y, z:
    import trainer.f
for _ in y:
    import trainer.g
else:
    import trainer.h
while x:
    import trainer.i
class C:
    async def f(self):
        async with x:
            import trainer.j
        if x:
            pass
        elif y:
            import trainer.k
        else:
            import trainer.l
"""


def test_an_import_is_found_in_every_block() -> None:
    assert imported(ast.parse(EVERYWHERE)) == [
        "trainer",
        *(f"trainer.{one}" for one in "abcdefghijkl"),
    ]


def test_no_import_of_the_project_is_missed() -> None:
    """Compared with every node of every file: the search itself looks at statements alone."""
    files = [path for package in source_code.PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert imported(tree) == source_code.with_parents(names), path
