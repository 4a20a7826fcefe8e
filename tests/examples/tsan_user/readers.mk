# SPDX-License-Identifier: BSD-2-Clause
# The Makefile's part about readers.c.
READER_MISTAKES = \
	$(foreach kind,plain robust,$(foreach mistake,writes_outside writes_reading writes_downgraded,$(mistake)/$(kind)))

check-readers: $(OUT)/readers
	$(RUN) $(OUT)/readers
	@for mistake in $(READER_MISTAKES); do \
		if $(RUN) $(OUT)/readers $${mistake%/*} $${mistake#*/} >$(OUT)/log 2>&1; then \
			echo "mistake $$mistake was not reported"; exit 1; \
		fi; \
		grep -q "WARNING: ThreadSanitizer: data race" $(OUT)/log && \
		grep -q "readers.c:" $(OUT)/log || { cat $(OUT)/log; exit 1; }; \
		echo "mistake $$mistake was reported"; \
	done

$(OUT)/readers: readers.c Makefile readers.mk
	@mkdir -p $(OUT)
	$(CC) $(FLAGS) $< -o $@

.PHONY: check-readers
