"""What a flame graph says of itself, read as XML. `svg_totals.py FILE`."""

import json
import re
import sys
import xml.etree.ElementTree as tree

SVG = "{http://www.w3.org/2000/svg}"
root = tree.parse(sys.argv[1]).getroot()
frames = root.find(f"{SVG}svg[@id='frames']")
titles = [title.text for title in frames.iter(f"{SVG}title")]
whole = next(re.fullmatch(r"all \(([\d,]+) bytes, 100%\)", title) for title in titles if title.startswith("all ("))
text = "".join(root.itertext())
print(json.dumps({
    "total": int(frames.get("total_samples")), "all": int(whole[1].replace(",", "")), "frames": len(titles),
    "lost": "Lost: nothing." in text,
}))
