"""A child that speaks `worker.protocol` without torch or pydantic: a hundred attempts in the time of one training.

What it does is in the job's labels: `points` (number of metric points), `seconds` (how long it takes), `later` (the
same of attempts after the first; a test can then stop the first one for certain and see the next one end soon), `do`
(how it ends: done, checkpoint, crash, suicide, poison (kills its worker), hog (of memory), exit, garbage, fail,
disk_full, stubborn). With `TINY_JOURNAL` set it appends a line there when it begins and when it ends, so that a test
sees whether two children of one job ever ran at a time.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--job")
parser.add_argument("--messages-fd", type=int)
parser.add_argument("--lifeline-fd", type=int)
arguments = parser.parse_args()
with open(arguments.job) as file:
    order = json.load(file)
labels = order["spec"]["labels"]
if "real" in labels:  # this one shall train: become the real child, with the same pipes
    os.execv(sys.executable, [sys.executable, "-m", "worker.child", *sys.argv[1:]])
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())


def die_with_supervisor() -> None:
    os.read(arguments.lifeline_fd, 1)
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=die_with_supervisor, daemon=True).start()
pipe = os.fdopen(arguments.messages_fd, "w", buffering=1)


def send(**message: object) -> None:
    pipe.write(json.dumps(message) + "\n")


def journal(what: str) -> None:
    if path := os.environ.get("TINY_JOURNAL"):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{time.monotonic_ns()} {what} {order['job_id']} {order['attempt']}\n".encode())
        os.close(handle)


if order["attempt"] > 1 and "later" in labels:
    labels["seconds"] = labels["later"]
journal("begin")
print("tiny child of", order["job_id"], "attempt", order["attempt"], flush=True)
send(type="environment", environment={"device": "cpu", "backend": "tiny"})
points, seconds, do = int(labels.get("points", 3)), float(labels.get("seconds", 0)), labels.get("do", "done")
begin = time.monotonic()
for step in range(1, points + 1):
    point = {"name": "train/loss", "step": step, "epoch": 1, "value": 1 / step, "time": int(time.time() * 1000)}
    send(type="metrics", points=[point])
    send(type="progress", progress={"epoch": 1, "epochs": 1, "step": step, "steps": points, "fraction": step / points})
    if do == "checkpoint" or do == "suicide":
        path = os.path.join(order["workdir"], f"checkpoint-{step}")
        with open(path, "w") as file:
            file.write(f"step {step}")
        send(type="checkpoint", path=path, step=step, epoch=1, sha256="")
    while time.monotonic() - begin < seconds * step / points and (not stop.is_set() or do == "stubborn"):
        time.sleep(0.005)
    if stop.is_set() and do != "stubborn":
        send(type="stopped")
        journal("end")
        sys.exit(0)
if do == "suicide":
    time.sleep(float(labels.get("linger", 0)))
    journal("end")
    os.kill(os.getpid(), signal.SIGKILL)
elif do == "poison":
    os.kill(os.getppid(), signal.SIGKILL)
elif do == "hog":
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * 2**20)
elif do == "disk_full":
    send(type="stopped", reason="disk_full", message="The disk is full: /somewhere has 0.0 MiB left.")
elif do == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
elif do == "exit":
    sys.exit(3)
elif do == "garbage":
    pipe.write("this is no JSON\n")
    sys.exit(1)
elif do == "fail":
    for name in ("metrics.csv", "curves.png"):
        path = os.path.join(order["workdir"], name)
        with open(path, "w") as file:
            file.write(name)
        send(type="artifact", path=path, name=name, kind=name[:-4], media_type="text/csv")
    send(type="failed", code="diverged", message="The loss is not a number.")
else:
    result = os.path.join(order["workdir"], "summary.json")
    with open(result, "w") as file:
        json.dump({"attempt": order["attempt"]}, file)
    send(type="artifact", path=result, name="summary.json", kind="summary", media_type="application/json")
    send(type="done", result={"attempt": order["attempt"], "checkpoints": len(order["checkpoints"])})
journal("end")
