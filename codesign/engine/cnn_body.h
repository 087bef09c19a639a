// What is compiled once for each instruction set, inside of its namespace.

#include "cnn_numbers.h"
#include "cnn_work.h"
#include "cnn_scatter.h"
#include "cnn_terms.h"
#include "cnn_finish.h"
#include "cnn_sums.h"
#include "cnn_layers.h"
#include "cnn_trials.h"
#include "cnn_run.h"
#include "cnn_golden.h"
#include "cnn_evaluate.h"
