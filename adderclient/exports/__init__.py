"""What other tools read: TensorBoard event files, MLflow runs, a folder for the Hugging Face Hub."""
