"""An application of Flask that is loaded before the fork: each request reads a list that all workers share."""
import flask

WORDS = [("word", str(i)) for i in range(20_000)]

app = flask.Flask(__name__)


@app.route("/")
def count():
    longest = 0
    for word in WORDS:  # the reading
        longest = max(longest, len(word[1]))
    return f"longest: {longest}"
