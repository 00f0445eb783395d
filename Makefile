# Every target sets up .venv first. Variables (PROFILE=smoke, OUT=runs/mine ...): `make help`.

PYTHON ?= python3
PROFILE ?= default
OUT ?= runs/ablation
CACHE ?= .cache
PORT ?= 5000

ORIGIN_OF_OUT := $(origin OUT)

# What users type reaches the shell as environment only, so that no character of it is expanded.
TEXTS := PROFILE DATA TABLE IMAGES RANGE_Q RANGE_C PROTOCOL BACKBONE PRETRAINED WORKERS OUT CACHE CACHE_GB PORT CARDS N_IMAGES \
  RUNS PREDICTIONS CLAIMS TRACKING_URI REPORT_LANG REPORT_FONT
$(foreach name,$(TEXTS),$(if $(filter undefined,$(origin $(name))),,\
  $(eval override $(name) := $$(value $(name)))$(eval export $(name))))
flag = $(if $(value $(1)), --$(2) "$$$(1)")

BIN := .venv/bin
STAMP := .venv/installed
ABLATION_FLAGS = $(call flag,PROFILE,profile)$(call flag,DATA,data)$(call flag,TABLE,table)$(call \
  flag,IMAGES,images)$(call flag,RANGE_Q,range_q)$(call flag,RANGE_C,range_c)$(call \
  flag,PROTOCOL,protocol)$(call flag,BACKBONE,backbone)$(call flag,PRETRAINED,pretrained)$(call \
  flag,WORKERS,workers)$(call flag,OUT,out)$(call flag,CACHE,cache)$(call \
  flag,CACHE_GB,cache_gb)

# Several runs side by side have a folder of their own, unless one is named.
REPORT_OUT = $(if $(and $(value RUNS),$(filter file,$(ORIGIN_OF_OUT))),,$(call flag,OUT,out))
REPORT_FLAGS = $(REPORT_OUT)$(call flag,TRACKING_URI,tracking_uri)$(call flag,RUNS,runs)$(call \
  flag,PREDICTIONS,predictions)$(call flag,CLAIMS,claims)

.DEFAULT_GOAL := help
.PHONY: help setup ablation plan test lint report calibrate ui bench backbone worth clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "variables of ablation: PROFILE=smoke|default|full  OUT=folder  WORKERS=processes  CACHE=folder  CACHE_GB=20"
	@echo "  data:     DATA=folder, or TABLE=file.csv IMAGES=folder RANGE_Q=1:5 RANGE_C=1:5"
	@echo "  protocol: PROTOCOL=auto|honest|grouped_kfold"
	@echo "  model:    BACKBONE=ViT-B-32 PRETRAINED=weights-file-or-tag"
	@echo "variables of report: OUT  TRACKING_URI  RUNS='runs/a runs/b'  PREDICTIONS=name:file.csv"
	@echo "                     CLAIMS=my_claims.py  REPORT_LANG=en|zh  REPORT_FONT=file"

setup: $(STAMP) ## make .venv and install everything in it

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

ablation: $(STAMP) ## tune and compare the four modes, write OUT/report.pdf
	@$(BIN)/python -m experiments.ablation$(ABLATION_FLAGS)

plan: $(STAMP) ## what an ablation will take (variables of ablation; CARDS=8 N_IMAGES=30000 on paper)
	@$(BIN)/python -m experiments.plan$(ABLATION_FLAGS)$(call flag,CARDS,cards)$(call flag,N_IMAGES,n_images)

test: $(STAMP) ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(STAMP) ## ruff, pyright, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

report: $(STAMP) ## build OUT/report.pdf again from MLflow
	@$(BIN)/python -m reports.build$(REPORT_FLAGS)

calibrate: $(STAMP) ## simulate how often the report's tests err, runs/calibration.json (1 minute)
	@OMP_NUM_THREADS=1 $(BIN)/python -m reports.calibration

ui: $(STAMP) ## open MLflow's pages on OUT (loopback; PORT=5000)
	@test -f "$$OUT/mlflow.db" || { echo "There is no mlflow.db in $$OUT: run make ablation first."; exit 2; }
	@echo "http://127.0.0.1:$$PORT/#/experiments/1  (Ctrl-C ends it)"
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port "$$PORT" --workers 1 \
	  --backend-store-uri "sqlite:///$$OUT/mlflow.db" --default-artifact-root "$$OUT/artifacts"

bench: $(STAMP) ## this project against a plain loop, runs/bench.json (up to 45 minutes)
	@$(BIN)/python -m benchmarks.bench --cache "$$CACHE"$(if $(value ONLY), --only $(ONLY))

backbone: $(STAMP) ## pretrain the embedded backbone again (up to 45 minutes)
	@$(BIN)/python -m experiments.pretrain

worth: $(STAMP) ## measure what benchmark and backbone are worth, runs/worth.json
	@$(BIN)/python -m experiments.worth --cache "$$CACHE"

clean: ## remove .venv and caches; runs/ stays
	@rm -rf .venv .cache build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
