"""Presets to Hugging Face and Kaggle, whence `hf://` and `kaggle://` fetch them."""

from pathlib import Path

from keras_flows.errors import PresetError
from keras_flows.zoo import handles, metadata


def upload(folder: str | Path, address: str) -> metadata.Metadata:
    """Uploads a preset, after it was verified.

    Only the files that its metadata name are uploaded, with the metadata. A repository or model
    that does not exist is created.

    >>> kf.zoo.upload("my_flow", "hf://user/flows/my_flow")

    Args:
        folder: A preset folder, or another handle that `load` takes.
        address: `hf://user/repository[/folder]` or `kaggle://owner/model/framework/variation`.

    Returns:
        The `keras_flows.zoo.metadata.Metadata` of what was uploaded.

    Raises:
        ImportError: If the library of the hub is not installed.
        LipschitzError: If a residual block of the preset cannot be certified invertible.
        PresetError: If the address is none of these, the preset is corrupt, nobody is logged in, or
            the hub refuses the files.
    """
    address = str(address)
    scheme = address.partition("://")[0]
    senders = {"hf": _to_hugging_face, "kaggle": _to_kaggle}
    if scheme not in senders:
        raise PresetError(
            "A preset is uploaded to hf://user/repository[/folder] or "
            f"kaggle://owner/model/framework/variation; got {address!r}."
        )
    send = senders[scheme](address)
    folder = handles.resolve(folder)
    described = _verified(folder)
    send(folder, described)
    return described


def _verified(folder):
    """The metadata of a preset whose files, weights and certificate are what it says."""
    from keras_flows.zoo import comparison, preset

    described = metadata.read(folder)
    comparison.check_certificate(preset.load(folder).certify(), described)
    return described


def _to_hugging_face(address):
    repository, subfolder = handles.hugging_face_parts(address)
    hub = handles.library("huggingface_hub")
    if hub.get_token() is None:
        raise PresetError(
            f"Nobody is logged in to Hugging Face, which writing {address} needs: `hf auth login`, "
            "or set HF_TOKEN to a token with write access."
        )

    def send(folder, described):
        api = hub.HfApi()
        try:
            api.create_repo(repository, repo_type="model", exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                repo_type="model",
                folder_path=str(folder),
                path_in_repo=subfolder or None,
                allow_patterns=_names(described),
                commit_message=f"Upload {described.name}",
            )
        except Exception as error:  # of many kinds: HTTP, names, authorisation
            raise PresetError(f"{address} could not be written: {error}") from error

    return send


def _to_kaggle(address):
    model = address.partition("://")[2]
    if len(model.split("/")) != 4 or not all(model.split("/")):
        raise PresetError(
            "A Kaggle address to write to is kaggle://owner/model/framework/variation, without a "
            f"version, which Kaggle counts; got {address!r}."
        )
    kaggle = handles.library("kagglehub")

    def send(folder, described):
        names = _names(described)
        others = sorted(path.name for path in folder.iterdir() if path.name not in names)
        try:
            kaggle.model_upload(
                model,
                str(folder),
                version_notes=f"{described.name}, keras-flows {described.versions['keras_flows']}",
                ignore_patterns=others or None,
            )
        except Exception as error:  # of many kinds: HTTP, names, authorisation
            raise PresetError(
                f"{address} could not be written: {error}. Kaggle needs a login: "
                "`kagglehub.login()`, or set KAGGLE_API_TOKEN."
            ) from error

    return send


def _names(described):
    return sorted([*described.files, metadata.FILE])
