from streamkit.responses import StreamingResponse
from streamkit.bridge import *
from streamkit.adapters import *
