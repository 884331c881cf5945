"""Another emotion for a whole take: python examples/01_another_emotion.py clip.mp4"""

import sys

import ned

result = ned.direct(sys.argv[1], emotion="happy", output="happy.mp4")
print("\n".join(result.summary))
