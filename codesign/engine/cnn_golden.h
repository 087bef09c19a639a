// Golden sums of all images, from golden codes: what differs from an image of zeros, scattered.
// Included once for each instruction set.

INLINE Difference* all_of(Work& work, const Value& value) {
    Writer out = write_to(work, value);
    for (int64_t e = 0; e < value.pixels * value.channels; e++) out.add(e, golden(work, value, e));
    return out.close();
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
