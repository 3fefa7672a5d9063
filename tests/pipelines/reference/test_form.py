from pipelines.reference.form import describe_parameters
from trainer.config.competition import Competition


def test_each_parameter_is_described_by_the_text_of_its_key() -> None:
    def pipeline(root: str, seed: int, folds: dict, members: list) -> None:
        """Do something."""

    text = describe_parameters(pipeline, Competition)
    assert text.startswith("Do something.\n\nArgs:\n    root: Where the data is, ")
    assert "\n    seed: Seed of folds, initial weights" in text
    assert "\n    folds: [folds]: how the labelled images are split" in text
    assert "Keys: count, exclude, exclude_file, duplicates" in text
    assert "Keys: name, backbone, weights" in text
