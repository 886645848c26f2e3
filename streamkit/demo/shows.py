"""What the index page has to look at: for some of the routes, a piece of HTML to try it with."""

from __future__ import annotations

__all__ = ["SHOWS"]

BUTTON = '<p><button type="button" aria-describedby="route-{}">Start</button></p>'

# The addresses are relative, for an app that is mounted under another path; the scripts that
# bring these to life are in page.js.
SHOWS = {
    "/clock": f"""<div class="show" id="clock">
<p class="large" role="timer">not started</p>
{BUTTON.format("clock")}
</div>
""",
    "/answer": f"""<div class="show" id="answer">
<p class="text"></p>
{BUTTON.format("answer")}
</div>
""",
    "/readings.jsonl": f"""<div class="show" id="readings">
<div class="rows">
<table>
<caption>The latest six readings</caption>
<thead><tr><th scope="col">number</th><th scope="col">time</th><th scope="col">celsius</th></tr>
</thead>
<tbody></tbody>
</table>
</div>
{BUTTON.format("readings")}
</div>
""",
    "/pictures": f"""<div class="show" id="pictures">
<img alt="Three circles of waves that spread" width="160" height="100">
{BUTTON.format("pictures")}
</div>
""",
    "/film.mp4": """<div class="show">
<video controls preload="metadata" width="320" height="180" src="film.mp4"
aria-label="A test picture of ten seconds, with a tone"></video>
</div>
""",
    "/gibibyte.bin": f"""<div class="show" id="download">
<label>Received <progress max="1" value="0"></progress></label>
<p class="received">0 of 1024 MiB</p>
<p role="status">What arrives is counted, and not kept.</p>
{BUTTON.format("gibibyte")}
</div>
""",
}
