"""The kfp face of the records step."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def records(data: dict, records: dict, classes: list, source_digest: str, images: dsl.Output[dsl.Dataset]) -> None:
    """Images and labels to TFRecord shards, the examples table and a manifest."""
    from trainer.progress import step

    with step("records"):
        from components.records.convert import convert
        from trainer.competition import Data, Records
        from trainer.schema import parse

        convert(
            parse(Data, data, "data"),
            parse(Records, records, "records"),
            classes=classes,
            source_digest=source_digest,
            out=images.path,
        )
