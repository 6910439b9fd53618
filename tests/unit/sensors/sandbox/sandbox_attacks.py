"""Scripts that try to break out, each printing or storing what it got.

The constants of ``World.constants`` come before each; ``WON`` is the token backwards, so that a traceback, which shows
source lines, never shows the token itself.
"""

# Each gets the token, which lies in a file, on a server or in the parent's memory.
STEALING = {
    "open": "print(open(SECRET).read())",
    "relative path": "import os; print(open(os.path.relpath(SECRET)).read())",
    "pathlib": "import pathlib; print(pathlib.Path(SECRET).read_text())",
    "descriptor": "import os; print(os.read(os.open(SECRET, os.O_RDONLY), 999))",
    "folder descriptor": """
import os
folder = os.open(VICTIM, os.O_PATH)
print(os.read(os.open("home/.aws/credentials", os.O_RDONLY, dir_fd=folder), 999))
""",
    "proc root": "print(open('/proc/self/root' + SECRET).read())",
    "proc working directory": "import os; os.chdir(VICTIM); print(open('/proc/self/cwd/home/.aws/credentials').read())",
    "mmap": "import mmap; f = open(SECRET, 'rb'); print(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)[:])",
    "importlib": "import importlib; print(importlib.import_module('io').open(SECRET).read())",
    "dunders": """
wrap = next(c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close")
print(wrap.__init__.__globals__["popen"]("cat " + SECRET).read())
""",
    "ctypes": """
import ctypes
libc = ctypes.CDLL(None)
text = ctypes.create_string_buffer(200)
libc.read(libc.open(SECRET.encode(), 0), text, 199)
print(text.value)
""",
    "raw system call": """
import ctypes, os, platform
libc = ctypes.CDLL(None)
number = {"x86_64": 257, "aarch64": 56}[platform.machine()]
print(os.read(libc.syscall(number, -100, SECRET.encode(), 0, 0), 999))
""",
    "openat2": """
import ctypes, os
how = (ctypes.c_uint64 * 3)()
print(os.read(ctypes.CDLL(None).syscall(437, -100, SECRET.encode(), how, 24), 999))
""",
    "machine code": """
import ctypes, mmap, os, platform
# open(rdi, 0): what no list of Python names can see.
code = {"x86_64": bytes.fromhex("b80200000031f60f05c3"),
        "aarch64": bytes.fromhex("e10300aa600c8092020080d2080780d2010000d4c0035fd6")}[platform.machine()]
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(os.read(call(SECRET.encode()), 999))
""",
    "pickle": """
import os, pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("cat " + SECRET + " > loot.txt",)
pickle.loads(pickle.dumps(Bomb()))
""",
    "subprocess": "import subprocess; print(subprocess.run(['cat', SECRET], capture_output=True).stdout)",
    "exec": "import os; os.execv('/bin/cat', ['cat', SECRET])",
    "posix_spawn": "import os; os.waitpid(os.posix_spawn('/bin/cat', ['cat', SECRET], {}), 0)",
    "multiprocessing": """
import multiprocessing
multiprocessing.set_start_method("fork")
child = multiprocessing.Process(target=lambda: open("loot.txt", "w").write(open(SECRET).read()))
child.start()
child.join()
""",
    "symbolic link": "import os; os.symlink(SECRET, 'data.csv')",
    "hard link": "import os; os.link(SECRET, 'data.csv')",
    "rename": "import os; os.rename(SECRET, 'data.csv')",
    "copy in the kernel": """
import os
source, target = os.open(SECRET, os.O_RDONLY), os.open("loot.txt", os.O_WRONLY | os.O_CREAT)
os.sendfile(target, source, 0, 999)
""",
    "TCP": """
import socket
connection = socket.create_connection(("127.0.0.1", PORT), 5)
connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(b"".join(iter(lambda: connection.recv(999), b"")))
""",
    "urllib": "import urllib.request; print(urllib.request.urlopen(f'http://127.0.0.1:{PORT}/', timeout=5).read())",
    "unix socket": """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(UNIX)
print(connection.recv(999))
""",
    "abstract socket": """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(ABSTRACT)
print(connection.recv(999))
""",
}

# As above; together, because the libraries take long to load.
STEALING_BY_LIBRARIES = {
    "numpy": "import numpy; print(numpy.fromfile(SECRET, dtype=numpy.uint8).tobytes())",
    "pandas": "import pandas; print(pandas.read_csv(SECRET).to_string())",
    "polars": "import polars; print(polars.scan_csv(SECRET).collect().to_dicts())",
    "pandas URL": "import pandas; print(pandas.read_csv(f'http://127.0.0.1:{PORT}/data.csv').to_string())",
    "numpy URL": "import numpy; print(numpy.lib.npyio.DataSource('.').open(f'http://127.0.0.1:{PORT}/d').read())",
}

# Each gets the token too, but would, unstopped, upset the machine or need rights that a plain run may lack.
STEALING_WITHOUT_CONTROL = {
    "polars URL": "import polars; print(polars.read_csv(f'http://127.0.0.1:{PORT}/data.csv').to_dicts())",
    "parent's root": "print(open(f'/proc/{PARENT}/root' + SECRET).read())",
    "parent's memory": """
memory = open(f"/proc/{PARENT}/mem", "rb", buffering=0)
memory.seek(BUFFER)
print(memory.read(99))
""",
    "process_vm_readv": """
import ctypes, platform
text = ctypes.create_string_buffer(99)
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
mine, its = Piece(ctypes.addressof(text), 98), Piece(BUFFER, 98)
ctypes.CDLL(None).process_vm_readv(PARENT, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0)
print(text.value)
""",
    "ptrace": """
import ctypes
libc = ctypes.CDLL(None)
libc.ptrace.restype = ctypes.c_long
if libc.ptrace(0x4206, PARENT, None, None) == 0:
    print(WON[::-1])
""",
    "pidfd_getfd": """
import ctypes, os
libc = ctypes.CDLL(None)
pidfd = libc.syscall(434, PARENT, 0)
for number in range(3, 64):
    descriptor = libc.syscall(438, pidfd, number, 0)
    if descriptor >= 0:
        print(WON[::-1])
""",
    "metadata address": """
import socket
for address in ("169.254.169.254", "169.254.170.2"):
    connection = socket.socket()
    print(WON[::-1])
""",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print(WON[::-1])",
    "raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); print(WON[::-1])",
    "socket pair": "import socket; socket.socketpair(); print(WON[::-1])",
    "io_uring": """
import ctypes
if ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) >= 0:
    print(WON[::-1])
""",
    "memfd": "import os; os.memfd_create('x'); print(WON[::-1])",
    "namespace": "import ctypes; print(WON[::-1] if ctypes.CDLL(None).unshare(0x10000000) == 0 else '')",
    "become root": "import os; os.setresuid(0, 0, 0); print(WON[::-1])",
    "chroot": "import os; os.chroot('/'); print(WON[::-1])",
    "raise a limit": """
import resource
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (hard + 4096, hard + 4096))
print(WON[::-1])
""",
    "limits of the parent": """
import resource
resource.prlimit(PARENT, resource.RLIMIT_NOFILE)
print(WON[::-1])
""",
    "fork": """
import os
if os.fork() == 0:
    open("loot.txt", "w").write(WON[::-1])
    os._exit(0)
os.wait()
""",
    "fork by clone": """
import ctypes, os, platform
number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
if ctypes.CDLL(None).syscall(number, 17, 0, 0, 0, 0) == 0:
    open("loot.txt", "w").write(WON[::-1])
    os._exit(0)
os.wait()
""",
    "fork by clone3": """
import ctypes, os
arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)
if ctypes.CDLL(None).syscall(435, arguments, 88) == 0:
    open("loot.txt", "w").write(WON[::-1])
    os._exit(0)
os.wait()
""",
    "daemon": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("loot.txt", "w").write(WON[::-1])
        time.sleep(60)
    os._exit(0)
os.wait()
""",
}

# Each leaves something changed outside its folder.
DAMAGING = {
    "new file": "open(VICTIM + '/new', 'w').write('x')",
    "new file above": "import os; open(os.path.relpath(VICTIM) + '/new', 'w').write('x')",
    "overwrite": "open(SECRET, 'w').write('x')",
    "append": "open(SECRET, 'a').write('x')",
    "truncate": "import os; os.truncate(SECRET, 0)",
    "truncate while reading": "import os; os.open(SECRET, os.O_RDONLY | os.O_TRUNC)",
    "remove": "import os; os.unlink(SECRET)",
    "rename away": "import os; os.rename(SECRET, VICTIM + '/moved')",
    "chmod": "import os; os.chmod(SECRET, 0o777)",
    "utime": "import os; os.utime(SECRET, (1, 1))",
    "folder": "import os; os.mkdir(VICTIM + '/folder')",
    "symbolic link": "import os; os.symlink('/etc', VICTIM + '/link')",
    "hard link": "import os; open('mine', 'w').close(); os.link('mine', VICTIM + '/link')",
    "named pipe": "import os; os.mkfifo(VICTIM + '/pipe')",
    "socket": "import socket; socket.socket(socket.AF_UNIX).bind(VICTIM + '/bound')",
    "numpy": "import numpy; numpy.ones(9).tofile(VICTIM + '/array')",
    "polars": "import polars; polars.DataFrame({'a': [1]}).write_csv(VICTIM + '/frame.csv')",
    "shell": "import os; os.system('touch ' + VICTIM + '/touched')",
}

DAMAGING_WITHOUT_CONTROL = {
    "parent's memory": """
memory = open(f"/proc/{PARENT}/mem", "r+b", buffering=0)
memory.seek(BUFFER)
memory.write(b"x")
""",
    "process_vm_writev": """
import ctypes
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
text = ctypes.create_string_buffer(b"xxxx")
mine, its = Piece(ctypes.addressof(text), 4), Piece(BUFFER, 4)
ctypes.CDLL(None).process_vm_writev(PARENT, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0)
""",
}

# Each sends SIGUSR1 to the parent.
SIGNALLING = {
    "kill": "import os, signal; os.kill(PARENT, signal.SIGUSR1)",
    "pidfd": "import os, signal; signal.pidfd_send_signal(os.pidfd_open(PARENT), signal.SIGUSR1)",
    "tgkill": """
import ctypes, platform, signal
number = {"x86_64": 234, "aarch64": 131}[platform.machine()]
ctypes.CDLL(None).syscall(number, PARENT, PARENT, int(signal.SIGUSR1))
""",
    "sigqueue": "import ctypes, signal; ctypes.CDLL(None).sigqueue(PARENT, int(signal.SIGUSR1), 0)",
    "owner of a pipe": """
import fcntl, os, signal
reading, writing = os.pipe()
fcntl.fcntl(reading, fcntl.F_SETOWN, PARENT)
fcntl.fcntl(reading, 10, int(signal.SIGUSR1))  # F_SETSIG
fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
os.write(writing, b"x")
""",
}

# What each uses up, and the word by which the reason names the limit.
BOMBS = {
    "memory, at once": ("x = bytearray(10**11)", "memory_mb"),
    "memory, by and by": ("import numpy\nkept = []\nwhile True:\n    kept.append(numpy.empty(10**7))", "memory_mb"),
    "memory, in Rust": ("import polars\nprint(polars.repeat(1.0, 10**10, eager=True).sum())", "memory_mb"),
    "threads": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "threads",
    ),
    "files": ("for number in range(10**6): open(f'f{number}', 'w').close()", "12 files"),
    "file size": ("f = open('f', 'wb')\nwhile True: f.write(bytes(2**20))", "file_mb"),
    "disk": (
        "for number in range(9):\n    open(f'f{number}', 'wb').write(bytes(2**21))\nimport time; time.sleep(9)",
        "8 MB of disk",
    ),
    "disk, sparse": (
        "for number in range(9):\n    open(f'f{number}', 'wb').truncate(2**21)\nimport time; time.sleep(9)",
        "8 MB of disk",
    ),
    "disk, nameless": (
        "import os\nfor number in range(9):\n    f = open('f', 'wb'); os.set_inheritable(f.fileno(), True)\n"
        "    f.write(bytes(2**21)); os.unlink('f')",
        "Operation not permitted",
    ),
    "disk, temporary": ("import tempfile\nkept = [tempfile.TemporaryFile() for _ in range(9)]", "No usable temporary"),
    "output": ("while True: print('x' * 999)", "64 KB"),
    "output, errors": ("import os\nwhile True: os.write(2, b'x' * 999)", "64 KB"),
}
TIME_BOMBS = {
    "sleep": ("import time\ntime.sleep(600)", "1 seconds on the clock"),
    "deaf sleep": (
        "import signal, time\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)\n"
        "time.sleep(600)",
        "1 seconds on the clock",
    ),
    "silent sleep": ("import os, time\nos.close(1); os.close(2)\ntime.sleep(600)", "1 seconds on the clock"),
    "lingering threads": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
        "1 seconds",
    ),
}
PROCESSOR_BOMBS = {
    "loop in C": "sum(range(10**12))",
    "loops in threads": (
        "import hashlib, threading\n"
        "for _ in range(4): threading.Thread(target=lambda: hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)).start()"
    ),
}


def all_in_one(attacks: dict[str, str]) -> str:
    """A script that tries one attack after the other and ends by saying so."""
    return f"""
for name, source in {attacks!r}.items():
    try:
        exec(source, dict(globals()))
    except BaseException as error:
        print(name, type(error).__name__, error)
print("tried all")
"""
