"""A network in a folder of its own, for aeframe or for other programs."""

from __future__ import annotations

import argparse

from aeframe.cli.verbs.verb import Verb, add_out, add_run, loaded


def _arguments(parser: argparse.ArgumentParser) -> None:
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
    from aeframe.cli.verbs.outputs import free_place, say, whole_folder
    from aeframe.codec.codec_file import copy_codec
    from aeframe.runs.model_file import export
    from aeframe.runs.program_export import export_onnx, export_torch, require_onnx

    if options.onnx:
        require_onnx()
    out = free_place(options, (), folder=True)
    model = loaded(options)
    if options.encoder_only:
        model = model.encoder()
    with whole_folder(out) as folder:
        if options.onnx:
            export_onnx(model, folder)
        if options.torch:
            export_torch(model, folder)
        if not (options.onnx or options.torch):
            export(folder, model)
            if not options.encoder_only:
                copy_codec(options.run, folder)
        files = sorted(file.name for file in folder.iterdir())
    say(out, f"{', '.join(files)} in")


VERBS = (
    Verb(
        "export",
        "the network with its codec, or its encoder, in a folder of its own",
        "aeframe export outputs/DAY/RUN --encoder-only --out encoder/\n"
        "  aeframe export outputs/DAY/RUN --onnx --out onnx/",
        _arguments,
        _export,
    ),
)
