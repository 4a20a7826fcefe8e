# SPDX-License-Identifier: BSD-2-Clause
# The Makefile's part about waits.c, semaphores and barriers: all of its mistakes are data races.
WAIT_MISTAKES = \
	$(foreach kind,semaphore fair,writes_after_post/$(kind) reads_before_wait/$(kind)) \
	$(foreach kind,barrier robust,writes_after_phase/$(kind) reads_before_phase/$(kind))

check-waits: $(OUT)/waits
	$(RUN) $(OUT)/waits
	@for mistake in $(WAIT_MISTAKES); do \
		if $(RUN) $(OUT)/waits $${mistake%/*} $${mistake#*/} >$(OUT)/log 2>&1; then \
			echo "mistake $$mistake was not reported"; exit 1; \
		fi; \
		grep -q "WARNING: ThreadSanitizer: data race" $(OUT)/log && \
		grep -q "waits.c:" $(OUT)/log || { cat $(OUT)/log; exit 1; }; \
		echo "mistake $$mistake was reported"; \
	done

$(OUT)/waits: waits.c Makefile waits.mk
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $< -o $@

.PHONY: check-waits
