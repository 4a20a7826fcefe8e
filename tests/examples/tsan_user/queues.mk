# SPDX-License-Identifier: BSD-2-Clause
# The Makefile's part about queues.c: what each mistake has to be called.
QUEUE_MISTAKES = \
	reads_outside/data-race writes_after_try/data-race \
	locks_backwards/lock-order-inversion unlocks_twice/unlock-of-an-unlocked-mutex

check-queues: $(OUT)/queues
	$(RUN) $(OUT)/queues
	@for mistake in $(QUEUE_MISTAKES); do \
		set -- $$(echo $$mistake | tr / ' '); \
		if $(RUN) $(OUT)/queues $$1 >$(OUT)/log 2>&1; then \
			echo "mistake queues/$$mistake was not reported"; exit 1; \
		fi; \
		grep -q "WARNING: ThreadSanitizer: $$(echo $$2 | tr - .)" $(OUT)/log && \
		grep -q "queues.c:" $(OUT)/log || { cat $(OUT)/log; exit 1; }; \
		echo "mistake queues/$$mistake was reported"; \
	done

$(OUT)/queues: queues.c Makefile queues.mk
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $< -o $@

.PHONY: check-queues
