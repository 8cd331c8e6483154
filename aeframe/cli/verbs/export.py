"""The verb export: a network in its own folder, for aeframe or for other programs."""

from __future__ import annotations

import argparse

from aeframe.cli.verbs.verb import Verb, add_out, add_run, load_model


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--encoder-only", action="store_true", help="leave the decoder out")
    parser.add_argument(
        "--onnx", action="store_true", help="encoder.onnx and decoder.onnx instead, checked"
    )
    parser.add_argument(
        "--torch",
        action="store_true",
        help="encoder.pt2 and decoder.pt2 of torch.export instead, checked",
    )
    add_out(parser, "a folder")


def _export(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import check_output_path, fill_folder
    from aeframe.codec.codec_file import copy_codec
    from aeframe.runs.model_file import write
    from aeframe.runs.program_export import export_onnx, export_torch, require_onnx

    if options.onnx:
        require_onnx()
    out = check_output_path(options, (), folder=True)
    model = load_model(options)
    if options.encoder_only:
        model = model.encoder()
    with fill_folder(out) as folder:
        if options.onnx:
            export_onnx(model, folder)
        if options.torch:
            export_torch(model, folder)
        if not (options.onnx or options.torch):
            write(folder, model.net, model.description)
            if not options.encoder_only:
                copy_codec(options.run, folder)
        files = sorted(file.name for file in folder.iterdir())
    print(f"{', '.join(files)} in: {out}")


VERBS = (
    Verb(
        "export",
        "copy the network with its codec, or only its encoder, to a folder of its own",
        "aeframe export outputs/DAY/RUN --encoder-only --out encoder/\n"
        "  aeframe export outputs/DAY/RUN --onnx --out onnx/",
        _add_arguments,
        _export,
    ),
)
