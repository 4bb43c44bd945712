"""Commands that look at what there is: list, show, certify, recipes."""

from keras_flows.cli.arguments import Handle, Json
from keras_flows.cli.console import command, out, print_json, print_table


@command
def list_(as_json: Json = False):
    """List the zoo's entries."""
    from keras_flows import zoo

    entries = zoo.list()
    if as_json:
        print_json([entry.model_dump() for entry in entries])
        return
    print_table(
        None,
        ("name", "parameters", "likelihood", "test NLL, nats"),
        (
            (
                entry.name,
                f"{entry.parameters:,}",
                entry.likelihood,
                "" if entry.test is None else f"{entry.test.nll:.3f}",
            )
            for entry in entries
        ),
    )


@command
def show(handle: Handle, as_json: Json = False):
    """Show the model card of a preset."""
    import rich.markdown

    from keras_flows import zoo

    if as_json:
        print_json(zoo.show(handle).model_dump())
        return
    text = zoo.card(handle)
    if text.startswith("---\n"):
        text = text.split("---\n", 2)[2]
    out.print(rich.markdown.Markdown(text))


@command
def certify(handle: Handle, as_json: Json = False):
    """Certify that every residual block is invertible: Lipschitz bounds below 1, as in the card."""
    from keras_flows import zoo
    from keras_flows.zoo import comparison

    certificate = zoo.load(handle).certify()
    comparison.check_certificate(certificate, zoo.show(handle))
    if as_json:
        largest = certificate.largest if certificate.bounds else None
        print_json({"largest": largest, "bounds": certificate.bounds})
        return
    if not certificate.bounds:
        out.print(
            f"{handle}: no residual blocks, so there is nothing to certify",
            soft_wrap=True,
            highlight=False,
        )
        return
    print_table(
        f"{handle}: every block is certified invertible",
        ("block", "Lipschitz bound"),
        ((path, f"{bound:.6f}") for path, bound in certificate.bounds.items()),
    )


@command
def recipes(as_json: Json = False):
    """List the training recipes."""
    from keras_flows.models.registry import RECIPES

    if as_json:
        print_json({name: recipe.to_json() for name, recipe in RECIPES.items()})
        return
    print_table(
        None,
        ("name", "data", "steps", "batch"),
        (
            (
                name,
                recipe.data.name,
                f"{recipe.steps:,}",
                recipe.batch_size,
            )
            for name, recipe in RECIPES.items()
        ),
    )
