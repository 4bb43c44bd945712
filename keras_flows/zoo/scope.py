"""What a flow is for, where it ends, and what its likelihood says there: prose of model cards."""

from keras_flows.zoo import known_data

_NUMBERS = {
    "exact": "`log_prob` is exact up to rounding.",
    "unbiased": "`log_prob` is a random estimate, right on average: draws of it differ.",
    "biased": "`log_prob` is a random estimate that is wrong on average: compare it with care.",
    "lower_bound": "`log_prob` is a random lower bound: on average it is below the log-likelihood, "
    "by an unknown amount. It compares with other bounds, and not with exact numbers.",
}


def intended_use(metadata):
    """What the flow is for, Markdown."""
    if known_data.is_toy(metadata):
        return (
            "Teaching, tests of software, and comparisons of flows: the true density is known, so "
            "every number of the flow can be checked. A start for fine-tuning on other points of "
            "the plane, at a similar scale."
        )
    known = known_data.of(metadata)
    if len(metadata.event_shape) == 3:
        what = "images" if known is None else f"images of {known.title}"
        return (
            f"Research and teaching: likelihoods and samples of {what} like those of its training "
            "data, comparisons with other flows, and a start for fine-tuning on similar images. It "
            "is not made for producing images that people look at, nor for decisions about people."
        )
    if known is None:
        return (
            "Likelihoods and samples of vectors like those of its training data, and a start for "
            "fine-tuning on similar ones. Whether it may be used for decisions was not examined."
        )
    not_for = f", nor {known.not_for}" if known.not_for else ""
    return (
        "Teaching, examples and comparisons of detectors: likelihoods and samples of rows like "
        f"those of its training data ({known.title}). A start for fine-tuning on similar rows.\n\n"
        f"**It must not be used** for decisions about people{not_for}."
    )


def limitations(metadata):
    """Where the flow ends, Markdown."""
    items = [_NUMBERS[metadata.likelihood]]
    if known_data.is_toy(metadata):
        items.append(
            "An invertible map cannot tear the plane: between parts of the density that do not "
            "touch, the flow has thin bridges, and at sharp edges it is smooth. The divergence "
            "under Facts measures what that costs."
        )
    elif len(metadata.event_shape) == 3:
        height, width, channels = metadata.event_shape
        items.append(
            f"It takes integers, in images of {height}×{width} pixels and "
            f"{channels} channel{'' if channels == 1 else 's'}, prepared like its training data. "
            "Another size, number of bits or order of steps gives numbers that do not compare."
        )
        items.append(
            "Bits per dimension measure how well images are coded, and hardly how good samples "
            "look; its samples are not of the quality of large generative models."
        )
    elif metadata.columns is not None:
        items.append(
            "It takes the columns below, in the units of its table; the commands put the columns "
            "of a file in order by their names. A row outside of the range of a column has a "
            "`log_prob` of −∞."
        )
    else:
        items.append("It takes vectors prepared and scaled like its training data.")
    if metadata.columns is not None and metadata.training.get("warnings"):
        items.append(f"The fit said: {metadata.training['warnings']}")
    if metadata.test is None:
        items.append("No test result was recorded.")
    return "\n".join(f"* {item}" for item in items)


def out_of_distribution(metadata):
    """What the likelihood says away from the training data, Markdown."""
    if known_data.is_toy(metadata):
        return (
            "Far from its training points the flow extrapolates. `log_prob` falls there, since the "
            "density integrates to one, but how fast is a matter of the network and was never "
            "trained; beyond the picture above take differences of `log_prob` for a ranking at "
            "most. A low value does show that a point is not of this density."
        )
    if len(metadata.event_shape) == 3:
        return (
            "A high likelihood does not show that an image is like the training data. Flows on "
            "images often give smooth or low-contrast images of other kinds a *higher* `log_prob` "
            "than their own test images; for this one it was not measured (Nalisnick et al. 2019, "
            "*Do Deep Generative Models Know What They Don't Know?*; Kirichenko et al. 2020, *Why "
            "Normalizing Flows Fail to Detect Out-of-Distribution Data*). A very low one does show "
            "that an image is unlike them. Do not use a threshold on `log_prob` alone as a "
            "detector without a test on the anomalies that matter."
        )
    if metadata.calibration is not None:
        return (
            "Away from its training data the flow extrapolates, and its likelihood there was not "
            "examined. `keras-flows detect` flags rows by p-values: of rows like the held-out ones "
            "it flags the share that was asked for. How many of the anomalies that matter it finds "
            "was not measured here; test it on them."
        )
    return (
        "Away from its training data the flow extrapolates, and its likelihood there was not "
        "examined. A high `log_prob` does not show that a vector is like the training data, least "
        "of all in many dimensions; calibrate a threshold on held-out data and test it on the "
        "anomalies that matter."
    )
