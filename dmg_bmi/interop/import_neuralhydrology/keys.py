"""Keys of a neuralhydrology configuration, versions 1.3 to 1.13, that do not make the model another.

Those that do are the fields of :class:`~.run_config.RunFile`. Any other key is refused.
"""

from collections.abc import Mapping

_OTHER_MODELS = """
bidirectional_stacked_forecast_lstm conceptual_model dynamic_conceptual_inputs forecast_hidden_size
forecast_network forecast_overlap forecast_seq_length hindcast_hidden_size mamba_d_conv mamba_d_state
mamba_expand ode_method ode_num_unfolds ode_random_freq_lower_bound rating_curve_file
state_handoff_network transformer_dim_feedforward transformer_dropout
transformer_nheads transformer_nlayers transformer_positional_dropout
transformer_positional_encoding_type xlstm_heads xlstm_kernel_size xlstm_num_blocks xlstm_proj_factor
xlstm_slstm_at
"""

_TRAINING = """
additional_feature_files allow_subsequent_nan_losses base_run_dir batch_size cache_validation_data
checkpoint_path clip_gradient_norm commit_hash continue_from_epoch custom_normalization data_dir
dev_mode device dynamic_learning_rate early_stopping epochs experiment_name factor_dynamic_learning_rate
finetune_modules forcings img_log_dir initial_forget_bias is_continue_training is_finetuning
learning_rate log_interval log_n_figures log_tensorboard loss max_updates_per_epoch metrics
minimum_epochs_before_early_stopping n_samples negative_sample_handling negative_sample_max_retries
no_loss_frequencies num_workers optimizer output_dropout package_version patience_dynamic_learning_rate
patience_early_stopping per_basin_test_periods_file per_basin_train_periods_file
per_basin_validation_periods_file predict_last_n random_holdout_from_dynamic_features regularization
run_dir save_all_output save_git_diff save_train_data save_validation_results save_weights_every seed
target_loss_weights target_noise_std test_basin_file test_end_date test_start_date train_basin_file
train_data_file train_dir train_end_date train_start_date umal_extend_batch validate_every
validate_n_random_basins validation_basin_file validation_end_date validation_start_date verbose
warmup_period
"""

#: Of training, files and reports.
IGNORED = frozenset(_TRAINING.split())

#: Of models that are not imported; they have no effect on those that are.
OF_OTHER_MODELS = frozenset(_OTHER_MODELS.split())

#: What has no counterpart here, with what it is; without a value it is not used.
REFUSED: Mapping[str, str] = {
    "autoregressive_inputs": "an observed flow as an input, with the model's own where it is missing",
    "duplicate_features": "inputs that appear twice",
    "evolving_attributes": "attributes that change in time",
    "static_inputs": "attributes that change in time (now evolving_attributes)",
    "forecast_inputs": "other inputs in a forecast than before it",
    "hindcast_inputs": "other inputs in a forecast than before it",
    "lagged_features": "inputs of earlier steps",
    "mass_inputs": "inputs that the model conserves",
    "mc_dropout": "answers drawn at random; set it to false for the model without",
    "nan_handling_method": "embeddings for missing inputs",
    "nan_handling_pos_encoding_size": "embeddings for missing inputs",
    "nan_sequence_probability": "embeddings for missing inputs",
    "nan_step_probability": "embeddings for missing inputs",
    "timestep_counter": "a counter of steps as an input",
}
