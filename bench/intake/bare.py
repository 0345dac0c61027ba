"""The route that ours is compared with: it reads a body and answers as ours does, and keeps nothing."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__, static_folder=None)


@app.get("/healthz")
def healthz() -> Response:
    """Say that it runs."""
    return jsonify(status="ok")


@app.post("/webhooks")
def receive() -> Response:
    """Read the body and forget it."""
    request.get_data(cache=False)
    return jsonify(received=True)
