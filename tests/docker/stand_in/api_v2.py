"""Stands in for GPT-SoVITS's api_v2.py: the same arguments, routes and refusals, from the standard library.

It loads its voice before it listens, answers 500 where upstream does, and ends on /control?command=exit.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import urllib.parse
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from GPT_SoVITS.TTS_infer_pack.TTS import TTS

LANGUAGES = ("auto", "en", "zh", "ja", "yue", "ko")
MODES = {"0": 0, "1": 1, "2": 2, "3": 3, "false": 0, "true": 1}

parser = argparse.ArgumentParser(description="stand-in")
parser.add_argument("-c", "--tts_config", default="GPT_SoVITS/configs/tts_infer.yaml")
parser.add_argument("-a", "--bind_addr", default="127.0.0.1")
parser.add_argument("-p", "--port", type=int, default=9880)
args = parser.parse_args()
voice = TTS(args.tts_config)


def header(rate):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
    return buffer.getvalue()


def pack(samples, rate, kind):
    if kind == "raw":
        return samples.tobytes()
    buffer = io.BytesIO()
    if kind == "aac":
        argv = ["ffmpeg", "-loglevel", "error", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]
        argv += ["-c:a", "aac", "-b:a", "192k", "-f", "adts", "pipe:1"]
        return subprocess.run(argv, input=samples.tobytes(), capture_output=True, check=True).stdout
    import soundfile

    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def wrong(request):
    for name in ("ref_audio_path", "text", "text_lang", "prompt_lang"):
        if not isinstance(request.get(name), str) or not request[name]:
            return f"{name} is required"
    if request["text_lang"] not in LANGUAGES or request["prompt_lang"] not in LANGUAGES:
        return "not supported"
    if request.get("media_type", "wav") not in ("wav", "raw", "ogg", "aac"):
        return "media_type is not supported"
    if request.get("text_split_method", "cut5") != "cut5":
        return "text_split_method is not supported"
    if str(request.get("streaming_mode", 0)).lower() not in MODES:
        return "streaming_mode"
    return None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        if path == "/openapi.json":
            self.answer(200, "application/json", json.dumps({"paths": {"/tts": {}, "/control": {}}}).encode())
        elif path == "/control" and asked.get("command") == "exit":
            os.kill(os.getpid(), signal.SIGTERM)
        elif path == "/tts" and "text_lang" not in asked:
            self.answer(500, "text/plain", b"Internal Server Error")
        elif path == "/tts":
            self.speak(asked)
        else:
            self.answer(404, "application/json", b'{"detail":"Not Found"}')

    def do_POST(self):
        self.speak(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def speak(self, request):
        reason = wrong(request)
        if reason:
            self.answer(400, "application/json", json.dumps({"message": reason}).encode())
            return
        kind = request.get("media_type", "wav")
        mode = MODES[str(request.get("streaming_mode", 0)).lower()]
        request["streaming_mode"], request["return_fragment"] = False, bool(mode)
        try:
            pieces = list(voice.run(request))
        except Exception as error:
            self.answer(
                400, "application/json", json.dumps({"message": "tts failed", "Exception": str(error)}).encode()
            )
            return
        if mode and kind == "wav":
            body = header(pieces[0][0]) + b"".join(pack(samples, rate, "raw") for rate, samples in pieces)
        else:
            body = b"".join(pack(samples, rate, kind) for rate, samples in pieces)
        self.answer(200, f"audio/{kind}", body)

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *arguments):
        print(form % arguments, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print(f"listening on {args.bind_addr}:{args.port}", flush=True)
    ThreadingHTTPServer((args.bind_addr, args.port), Handler).serve_forever()
