// Golden sums of all images, from golden codes: what differs from an image of zeros, scattered.
// Included once for each instruction set.

INLINE Difference* all_of(Work& work, const Value& value) {
    Writer out = write_to(work, value);
    for (int64_t e = 0; e < value.pixels * value.channels; e++) out.add(e, golden(work, value, e));
    return close_difference(work, out.d, out.entries);
}

// Sums of one layer and image; how many codes do not follow from them.
static int64_t sum_layer(Work& work, const Node& node) {
    const Value& to = work.plan->value[node.out];
    work.next = work.arena;
    const Difference* d = all_of(work, work.plan->value[node.in[0]]);
    if (d && node.groups > 1) scatter_groups(work, node, *d);
    else if (d && node.packed) scatter<int32_t, int8_t, v8b>(work, node, *d, work.sums, node.packed);
    else if (d) scatter<int32_t, int16_t, v8h>(work, node, *d, work.sums, node.packed16);
    drain(work.pixels, [](int64_t) {});
    int32_t* sums = node.sums + work.sample * to.pixels * to.channels;
    int64_t wrong = 0;
    for (int64_t m = 0; m < to.pixels; m++) {
        for (int64_t n = 0; n < to.channels; n++) {
            const int64_t e = m * to.channels + n;
            const int64_t bias = node.bias[(node.bias_by_m ? m * to.channels : 0) + n];
            sums[e] = work.sums[m * node.padded + n] + (int32_t)bias;
            wrong += code(finished(node, sums[e]), node.requantise, n) != golden(work, to, e);
        }
    }
    memset(work.sums, 0, to.pixels * node.padded * sizeof(int32_t));
    return wrong;
}

static int64_t golden_images(const Plan& plan, int64_t from, int64_t to) {
    Work* work = open_work(plan);
    int64_t wrong = 0;
    for (int64_t sample = from; sample < to; sample++) {
        show_image(*work, sample);
        for (int64_t i = 0; i < plan.nodes; i++)
            if (plan.node[i].sums) wrong += sum_layer(*work, plan.node[i]);
    }
    close_work(work);
    return wrong;
}

static void evaluate(const Plan& plan, const Row* rows, const int64_t* starts,
                     const uint8_t* sums, int64_t trials, int64_t from, int64_t to,
                     int64_t* outputs, int64_t* counts) {
    Work* work = open_work(plan);
    Trial* trial = (Trial*)calloc(trials + 1, sizeof(Trial));
    Item* items = (Item*)calloc(starts[trials] + 1, sizeof(Item));
    for (int64_t t = 0; t < trials; t++)
        trial[t] = prepare(plan, rows + starts[t], starts[t + 1] - starts[t], sums[t],
                           items + starts[t]);
    for (int64_t sample = from; sample < to; sample++) {
        bool shown = false;
        for (int64_t t = 0; t < trials; t++) {
            if (!trial[t].count || sample < trial[t].from || sample >= trial[t].to) continue;
            if (!shown) show_image(*work, sample);
            shown = true;
            run(*work, trial[t], outputs + (t * plan.samples + sample) * plan.classes);
        }
    }
    for (int i = 0; i < 8; i++) counts[i] += work->counts[i];
    for (int64_t t = 0; t < trials; t++) free((void*)trial[t].cells.cell);
    free(items);
    free(trial);
    close_work(work);
}
