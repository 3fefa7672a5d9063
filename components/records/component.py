"""The kfp components of the records step: list its parts, convert one part, and join them all."""

from kfp import dsl

from components import LIGHT_IMAGE


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def cut(data: dict, records: dict, source_digest: str, classes_digest: str) -> list[dict]:
    """List the parts that the loop runs over, each with all the inputs it needs."""
    from trainer.events import step_scope

    with step_scope("cut"):
        from trainer.config.preparation import Records
        from trainer.config.schema import parse

        parts = parse(Records, records, "records").parts
        # kfp's local runner passes the steps in a loop only the item, no outputs of other steps.
        # The digest of the classes is there for the cache: a file of classes may change.
        inputs = {
            "data": data,
            "records": records,
            "source_digest": source_digest,
            "classes_digest": classes_digest,
        }
        return [{"part": part, **inputs} for part in range(parts)]


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def records(part: dict, classes: list, task: str, images: dsl.Output[dsl.Dataset]) -> None:
    """Convert one part of the images to TFRecord shards with their examples table.

    For ready shards, write only the table.
    """
    from trainer.events import step_scope

    with step_scope("records"):
        from components import class_list
        from components.records.convert import convert
        from trainer.config.data import Data
        from trainer.config.preparation import Records
        from trainer.config.schema import parse

        parsed = parse(Data, part["data"], "data"), parse(Records, part["records"], "records")
        convert(
            *parsed,
            classes=class_list.names(classes),
            task=task,
            source_digest=part["source_digest"],
            part=int(part["part"]),
            out=images.path,
        )


@dsl.component(base_image=LIGHT_IMAGE, packages_to_install=[], install_kfp_package=False)
def join(
    parts: dsl.Input[list[dsl.Dataset]],
    data: dict,
    records: dict,
    classes: list,
    task: str,
    images: dsl.Output[dsl.Dataset],
) -> None:
    """Join all parts into one records folder, and publish it if `records.publish` is set."""
    from trainer.events import step_scope

    with step_scope("join"):
        from components import class_list
        from components.records.merge import join_and_publish
        from trainer.config.data import Data
        from trainer.config.preparation import Records
        from trainer.config.schema import parse

        parsed = parse(Data, data, "data"), parse(Records, records, "records")
        join_and_publish(
            [part.path for part in parts],
            *parsed,
            classes=class_list.names(classes),
            task=task,
            out=images.path,
        )
