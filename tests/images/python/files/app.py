"""Says who and where it is, as JSON. `app.py serve` then answers HTTP on port 8000 with the same."""
import grp, http.server, json, os, sys

about = json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()), "home": os.path.expanduser("~"), "cwd": os.getcwd(),
    "env": dict(os.environ), "files": sorted(os.path.relpath(os.path.join(d, f)) for d, _, fs in os.walk(".") for f in fs),
})
print(about)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(about.encode())

if "serve" in sys.argv:
    http.server.HTTPServer(("", 8000), Handler).serve_forever()
