"""How well a result kept the words and the picture, as numbers."""

import sys

import ned

ned.direct(sys.argv[1], emotion="sad", output="sad.mp4")
scores = ned.evaluate(sys.argv[1], "sad.mp4", output="report", emotion="sad")
for score in scores.pairs[0].scores[:8]:
    print(f"{score.metric}: {score.value:.3f}")
