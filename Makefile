# Every target sets up .venv first. Variables (PROFILE=smoke, OUT=runs/mine ...): `make help`.

PYTHON ?= python3
TIMES ?= 100
PROFILE ?= default
OUT ?= runs/ablation
CACHE ?= .cache

ORIGIN_OF_OUT := $(origin OUT)

# Terminals export their width by this name, which is no list of columns.
ifneq ($(origin COLUMNS),command line)
override undefine COLUMNS
endif
# What users type reaches the shell as environment only, so that no character of it is expanded.
TEXTS := PROFILE DATA DATA_ROOT DATA_TEST DATA_TEST_ROOT TABLE IMAGES COLUMNS RANGE_Q RANGE_C PROTOCOL \
  ENGINE RAY_ADDRESS OPTUNA_STORAGE \
  BACKBONE PRETRAINED ARMS WORKERS OUT CACHE CACHE_GB CACHE_PRECISION AMP_ON_CPU PORT CARDS N_IMAGES \
  RUNS PREDICTIONS CLAIMS TRACKING_URI REPORT_LANG REPORT_FONT STUDY SPLITS EPOCHS ONLY \
  STRIKES SEED SPAWN CHANGES SEEDS MARGIN CHECKPOINT TOKENIZER IMAGE_VIEW AUGMENT PYTHON TIMES \
  FOR WITHOUT WHEELS SYSTEM_TORCH
$(foreach name,$(TEXTS),$(if $(filter undefined,$(origin $(name))),,\
  $(eval override $(name) := $$(value $(name)))$(eval export $(name))))
# What nobody knows is a slip of the pen, and would be ignored.
override UNKNOWN := $(strip $(foreach name,$(.VARIABLES),$(if \
  $(filter command,$(firstword $(origin $(name)))),$(name))))
$(if $(UNKNOWN),$(error There is no variable $(UNKNOWN); make help lists them))
$(if $(filter-out 1,$(value AMP_ON_CPU)),$(error AMP_ON_CPU=1 trains in bfloat16; leave it out where that is not wanted))
flag = $(if $(value $(1)), --$(2) "$$$(1)")

override BIN := .venv/bin
override STAMP := .venv/installed
DATA_FLAGS = $(call flag,DATA,data)$(call flag,DATA_ROOT,data_root)$(call \
  flag,DATA_TEST,data_test)$(call flag,DATA_TEST_ROOT,data_test_root)$(call flag,TABLE,table)$(call \
  flag,IMAGES,images)$(call flag,COLUMNS,columns)$(call flag,RANGE_Q,range_q)$(call flag,RANGE_C,range_c)$(call flag,CACHE,cache)
MACHINE_FLAGS = $(call flag,ENGINE,engine)$(call flag,TRACKING_URI,tracking_uri)$(call \
  flag,OPTUNA_STORAGE,optuna_storage)
ABLATION_FLAGS = $(DATA_FLAGS)$(call flag,PROFILE,profile)$(call \
  flag,PROTOCOL,protocol)$(call flag,BACKBONE,backbone)$(call flag,PRETRAINED,pretrained)$(call \
  flag,TOKENIZER,tokenizer)$(call flag,IMAGE_VIEW,image_view)$(call flag,AUGMENT,augment)$(call \
  flag,ARMS,arms)$(call flag,SEEDS,seeds)$(call flag,MARGIN,margin)$(call flag,WORKERS,workers)$(call flag,OUT,out)$(call flag,CACHE_GB,cache_gb)$(call flag,CACHE_PRECISION,cache_precision)$(if $(value AMP_ON_CPU), --amp_on_cpu)$(MACHINE_FLAGS)

# A check of the machine, and several runs side by side, have folders of their own.
GPU_FLAGS = $(call flag,ONLY,only)$(if $(filter file,$(ORIGIN_OF_OUT)),,$(call flag,OUT,out))
REPORT_OUT = $(if $(and $(value RUNS),$(filter file,$(ORIGIN_OF_OUT))),,$(call flag,OUT,out))
REPORT_FLAGS = $(REPORT_OUT)$(call flag,TRACKING_URI,tracking_uri)$(call flag,RUNS,runs)$(call \
  flag,PREDICTIONS,predictions)$(call flag,CLAIMS,claims)$(call flag,MARGIN,margin)
SETUP_FLAGS = $(call flag,WHEELS,wheels)$(if $(value SYSTEM_TORCH), --system_torch)
SOAK_FLAGS = $(if $(value SPAWN), --spawn)$(if $(value CHANGES), --changes)

.DEFAULT_GOAL := help
.PHONY: help setup wheelhouse ablation study status plan test fuzz lint report calibrate ui serve export check-data floor bench gpu-check soak backbone worth clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "variables of ablation and study: PROFILE=smoke|default|full  OUT=folder  WORKERS=processes  SEEDS=1 (a split)  MARGIN=.02 (of 'the same')  CACHE=folder  CACHE_GB=20  CACHE_PRECISION=full|half  AMP_ON_CPU=1 (bfloat16)"
	@echo "  study:    STUDY=ladder|depth|ends|scale|data_size|batch_size|augmentation|lr|variants|heads"
	@echo "            SPLITS=5 EPOCHS=8, or STUDY=tune"
	@echo "  data:     DATA=folder, or TABLE=file.csv IMAGES=folder RANGE_Q=1:5 RANGE_C=1:5"
	@echo "            COLUMNS='name=image prompt=caption mos_quality=score' where its columns differ,"
	@echo "            or DATA=agiqa3k|aigciqa2023|agiqa1k|pku_aigiqa4k|aigiqa20k|evalmuse40k|evalmi50k|"
	@echo "            qeval100k|genai_bench DATA_ROOT=folder"
	@echo "  protocol: PROTOCOL=auto|replicates|honest|grouped_kfold|common|published|official|leave_one_generator_out"
	@echo "            or DATA_TEST=folder (or a name and DATA_TEST_ROOT=folder): train on one, test on it"
	@echo "  model:    BACKBONE=ViT-B-32 PRETRAINED=weights-file-or-tag, or BACKBONE=folder  TOKENIZER=folder"
	@echo "            IMAGE_VIEW=whole|padded|centre|crops AUGMENT=none|crop_flip"
	@echo "  arms:     ARMS=lp_ft,llrd,ema,wise_ft,lora,adapter,bias_norm,projection,anchor,l2_sp,top_frozen,"
	@echo "            image_only,text_only,soup,learnable_scale,curriculum_scale,antonym_heads (or all)"
	@echo "  machines: ENGINE=local|ray RAY_ADDRESS=auto|HOST:6379 (docs/cluster.md)"
	@echo "  records:  TRACKING_URI=http://HOST:PORT OPTUNA_STORAGE=postgresql://USER@HOST:PORT/DATABASE"
	@echo "variables of report: OUT  TRACKING_URI  RUNS='runs/a runs/b'  PREDICTIONS=name:file.csv"
	@echo "                     CLAIMS=my_claims.py  REPORT_LANG=en|zh  REPORT_FONT=file"

setup: $(STAMP) ## make .venv and install everything in it (WHEELS=folder: from there, with no index; SYSTEM_TORCH=1: with PYTHON's torch)

# The target wheelhouse fills WHEELS, and sets up .venv as ever.
override FROM_WHEELS := $(if $(filter wheelhouse,$(MAKECMDGOALS)),,$(value WHEELS))

.PHONY: anew
$(STAMP): pyproject.toml constraints.txt $(if $(FROM_WHEELS),$(if $(filter setup,$(MAKECMDGOALS)),anew))
ifneq ($(FROM_WHEELS),)
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: PYTHON=$$PYTHON is no Python 3.11 or newer: name one, as in PYTHON=python3.12." >&2; exit 2; }
	@"$$PYTHON" -m experiments.offline$(SETUP_FLAGS)
else
	@test -z "$$SYSTEM_TORCH" || { echo "error: SYSTEM_TORCH=1 goes with WHEELS=folder." >&2; exit 2; }
	@test -x $(BIN)/python || "$$PYTHON" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
endif
	@touch $@

wheelhouse: $(STAMP) ## collect the wheels that a machine without an index lacks (FOR=cp312-linux_x86_64 WITHOUT=torch,torchvision WHEELS=wheels)
	@$(BIN)/python -m experiments.wheelhouse$(call flag,FOR,machine)$(call flag,WITHOUT,without)$(call \
	  flag,WHEELS,wheels)

ablation: $(STAMP) ## tune and compare the four modes, write OUT/report.pdf
	@$(BIN)/python -m experiments.ablation$(ABLATION_FLAGS)

study: $(STAMP) ## run one study of the ablation in OUT: STUDY=depth SPLITS=5 EPOCHS=8
	@test -n "$$STUDY" || { echo "Name a study, as in make study STUDY=depth."; exit 2; }
	@$(BIN)/python -m experiments.study$(call flag,STUDY,study)$(call flag,SPLITS,splits)$(call \
	  flag,EPOCHS,epochs)$(ABLATION_FLAGS)

status: $(STAMP) ## how far the ablation in OUT is, while it runs or long after (or TRACKING_URI=)
	@$(BIN)/python -m experiments.status$(call flag,OUT,out)$(call flag,TRACKING_URI,tracking_uri)

plan: $(STAMP) ## what an ablation will take (variables of ablation; CARDS=8 N_IMAGES=30000 on paper)
	@$(BIN)/python -m experiments.plan$(ABLATION_FLAGS)$(call flag,CARDS,cards)$(call flag,N_IMAGES,n_images)

test: $(STAMP) ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

fuzz: $(STAMP) ## give readers, flags, checkpoints, stores, requests anything at all (TIMES=100 the tests' inputs; half an hour)
	@FUZZ_TIMES="$$TIMES" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/test_fuzz.py tests/test_fuzz_records.py

lint: $(STAMP) ## ruff, pyright, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

report: $(STAMP) ## build OUT/report.pdf again from MLflow
	@$(BIN)/python -m reports.build$(REPORT_FLAGS)

calibrate: $(STAMP) ## how often the report's decisions err, runs/calibration.json (ONLY=learners: real ones)
	@if test "$$ONLY" = learners; then part=experiments.learners; else part=reports.calibration; fi; \
	  OMP_NUM_THREADS=1 $(BIN)/python -m $$part

ui: $(STAMP) ## MLflow's pages on OUT, with links to ready views (loopback; PORT=5000)
	@$(BIN)/python -m experiments.ui$(call flag,OUT,out)$(call flag,PORT,port)

serve: $(STAMP) ## the champion of the ablation in OUT answers requests (loopback; PORT=5001 WORKERS=processes)
	@$(BIN)/python -m experiments.serve$(call flag,OUT,out)$(call flag,PORT,port)$(call flag,WORKERS,workers)

export: $(STAMP) ## the champion of OUT, or CHECKPOINT=file, for other programs: OUT/export
	@$(BIN)/python -m experiments.export --checkpoint "$${CHECKPOINT:-$$OUT}" --out "$$OUT/export"

check-data: $(STAMP) ## summarise rated images, name every problem with its row
	@$(BIN)/python -m experiments.check_data$(DATA_FLAGS)$(call flag,BACKBONE,backbone)$(call \
	  flag,TOKENIZER,tokenizer)

floor: $(STAMP) ## what a predictor without pixels scores; needs no images
	@$(BIN)/python -m experiments.floor$(DATA_FLAGS)

bench: $(STAMP) ## this project against a plain loop, runs/bench.json (up to two hours)
	@$(BIN)/python -m benchmarks.bench --cache "$$CACHE"$(call flag,ONLY,only)$(call \
	  flag,DATA,data)$(call flag,DATA_ROOT,data_root)

gpu-check: $(STAMP) ## what a GPU does here, and whether it gives the same answers, OUT/gpu.json (8 minutes; ONLY=part OUT=runs/gpu)
	@$(BIN)/python -m benchmarks.gpu_check --cache "$$CACHE"$(GPU_FLAGS)

soak: $(STAMP) ## strike PROFILE=smoke at 20 random moments, see that it ends the same (STRIKES=20 SEED=0 SPAWN=1 CHANGES=1)
	@$(BIN)/python -m benchmarks.soak$(call flag,STRIKES,strikes)$(call flag,SEED,seed)$(SOAK_FLAGS)

backbone: $(STAMP) ## pretrain the embedded backbone again (up to 45 minutes)
	@$(BIN)/python -m experiments.pretrain

worth: $(STAMP) ## measure what benchmark and backbone are worth, runs/worth.json
	@$(BIN)/python -m experiments.worth --cache "$$CACHE"

clean: ## remove .venv and caches; runs/ stays
	@rm -rf .venv .cache build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
