import json, time, subprocess, sys, os, signal, threading
from tests.fixtures_shop import *
from tests.fixtures_prefect import eventually
from packshot.db import queries
from packshot.sandbox.prefect_server import prefect_server

def kids_of(pid):
    found=[int(x) for x in subprocess.run(["ps","-o","pid=","--ppid",str(pid)],capture_output=True,text=True).stdout.split()]
    return found + [k for f in found for k in kids_of(f)]

def start(*a, **env):
    return subprocess.Popen(["/tmp/v/venv/bin/packshot", *a], cwd=ROOT, env=os.environ|env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def show(shop, p):
    out,_=p.communicate(timeout=150)
    print("-----", p.returncode); print(out[-3500:])
    for r in queries.runs(shop.engine): print({k:v for k,v in r.items() if k in("id","state","code","message","planned","archived","failed","held","calls","spent_usd")})
    print("emulator", shop.emulator.calls, shop.emulator.billed_micro)

def test_kill_server(shop, tmp_path):
    shop.emulator.latency = 1.0
    shop.set(CONCURRENCY=2)
    cat = write_catalog(tmp_path/"c.csv", 24)
    old=os.environ.pop("PREFECT_API_URL")
    p = start("run", str(cat))
    os.environ["PREFECT_API_URL"]=old
    eventually(lambda: shop.emulator.calls>6, 60)
    kids = kids_of(p.pid)
    print(kids)
    t=time.time()
    for k in kids: os.kill(k,9)
    show(shop,p); print("took", time.time()-t)

def test_sigint(shop, tmp_path):
    shop.emulator.latency = 2.0
    shop.set(CONCURRENCY=4)
    cat = write_catalog(tmp_path/"c.csv", 24)
    p = start("run", str(cat))
    eventually(lambda: shop.emulator.calls>6, 60)
    t=time.time()
    p.send_signal(signal.SIGINT)
    show(shop,p); print("took", time.time()-t)

def test_sigterm(shop, tmp_path):
    shop.emulator.latency = 2.0
    shop.set(CONCURRENCY=4)
    cat = write_catalog(tmp_path/"c.csv", 24)
    p = start("run", str(cat))
    eventually(lambda: shop.emulator.calls>6, 60)
    t=time.time()
    p.send_signal(signal.SIGTERM)
    show(shop,p); print("took", time.time()-t)

def test_two(shop, tmp_path):
    shop.emulator.latency = 1.0
    shop.set(CONCURRENCY=4)
    cat = write_catalog(tmp_path/"c.csv", 24)
    p = start("run", str(cat)); q= start("run", str(cat))
    show(shop,p); show(shop,q)
